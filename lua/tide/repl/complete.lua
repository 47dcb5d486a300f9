--- Completion from live values. It runs no user code: fields are read raw, metatables' `__index` tables are followed,
--- `__index` functions are not called; what an object offers beyond that it lists itself in its metatable's `__names`
--- (a function or a list that belongs to Tide), as tide's lazy namespaces and tensors do.
local complete = {}

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch "%a+" do
  words[#words + 1] = word
end

local function names_of(meta, v)
  local names = rawget(meta, "__names")
  if type(names) == "function" then
    local ok, list = pcall(names, v)
    names = ok and list
  end
  return type(names) == "table" and names or {}
end

local function raw_index(meta)
  return type(meta) == "table" and rawget(meta, "__index") or nil
end

-- Reads one field the way Lua would, without calling anything but Tide's own lazy loading (metatables with __names).
local function field(v, k)
  for _ = 1, 16 do
    if type(v) == "table" then
      local found = rawget(v, k)
      if found ~= nil then
        return found
      end
    end
    local meta = debug.getmetatable(v)
    local index = raw_index(meta)
    if type(index) == "function" and rawget(meta, "__names") ~= nil then
      local ok, found = pcall(index, v, k)
      return ok and found or nil
    end
    if type(index) ~= "table" then
      return nil
    end
    v = index
  end
end

-- Adds the string keys that `v` answers to, with the values that can be seen.
local function collect(v, out)
  for _ = 1, 16 do
    if type(v) == "table" then
      for k, x in next, v do
        if type(k) == "string" and out[k] == nil then
          out[k] = x
        end
      end
    end
    local meta = debug.getmetatable(v)
    if type(meta) ~= "table" then
      return
    end
    for _, k in ipairs(names_of(meta, v)) do
      if out[k] == nil then
        out[k] = true
      end
    end
    v = raw_index(meta)
    if type(v) ~= "table" then
      return
    end
  end
end

local function callable(v)
  return type(v) == "function" or (type(v) == "table" and rawget(debug.getmetatable(v) or {}, "__call") ~= nil)
end

local function sorted(list)
  table.sort(list)
  return list
end

-- Files that begin as the opened string does.
local function files(prefix)
  local folder, start = prefix:match "^(.*/)([^/]*)$"
  folder, start = folder or "", start or prefix
  local out = {}
  local quoted = "'" .. (folder == "" and "." or folder):gsub("'", "'\\''") .. "'"
  local pipe = io.popen("ls -1p -- " .. quoted .. " 2>/dev/null")
  if pipe then
    for name in pipe:lines() do
      if name:sub(1, #start) == start and (start ~= "" or name:sub(1, 1) ~= ".") then
        out[#out + 1] = name
      end
    end
    pipe:close()
  end
  return out, folder
end

--- The words that could stand where `word` stands.
---@param word string what was typed of it, with the dots and colons before it ("model.la")
---@param before string the line before the word
---@param env table the session's environment
---@return string[]
function complete.words(word, before, env)
  local open = before:match "[\"']([^\"']*)$"
  local _, quotes = before:gsub("[\"']", "")
  if open and quotes % 2 == 1 then
    local names, folder = files(open .. word)
    local cut = #folder - #open -- part of the folder that the word holds
    local out = {}
    for i, name in ipairs(names) do
      out[i] = (folder .. name):sub(#open + 1)
    end
    return cut and sorted(out) or out
  end
  local path, sep, last = word:match "^(.-)([.:]?)([%a_]?[%w_]*)$"
  local found, out = {}, {}
  if sep == "" and path == "" then
    collect(env, found)
    for _, w in ipairs(words) do
      found[w] = found[w] or "word"
    end
  elseif path:find "^[%a_][%w_.]*$" then
    local v = env
    for name in path:gmatch "[^.]+" do
      v = field(v, name)
      if v == nil then
        return {}
      end
    end
    collect(v, found)
  else
    return {}
  end
  for name, v in next, found do
    if name:sub(1, #last) == last and name:find "^[%a_][%w_]*$" and (last ~= "" or name:sub(1, 1) ~= "_") then
      if sep ~= ":" or v == true or callable(v) then
        out[#out + 1] = path .. sep .. name .. (sep ~= "" and type(v) == "function" and "(" or "")
      end
    end
  end
  return sorted(out)
end

return complete
