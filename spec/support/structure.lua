--- The require graph of lua/tide, folded to folders: who needs whom, and which rooms need each
--- other in a circle. `make structure` prints it; spec/structure_spec.lua keeps it from growing.
--
-- A module needs another when its source names it in `require`, at load or later. Namespaces find
-- their classes by module names in tables; those are names, not needs, and are left out.
local structure = {}

local function files(root)
  local p = assert(io.popen("find " .. root .. " -name '*.lua' | sort"))
  local out = {}
  for line in p:lines() do
    out[#out + 1] = line
  end
  p:close()
  return out
end

-- Drops comments, so that examples in them are no needs.
local function code_of(path)
  local f = assert(io.open(path))
  local text = f:read "a"
  f:close()
  return (text:gsub("%-%-%[(=*)%[.-%]%1%]", ""):gsub("%-%-[^\n]*", ""))
end

--- Modules by name: { path =, needs = { name = true } }.
--- @param root string the folder of lua/tide's parent
function structure.modules(root)
  local out = {}
  for _, path in ipairs(files(root .. "/tide")) do
    local name = path:sub(#root + 2, -5):gsub("/", "."):gsub("%.init$", "")
    local needs = {}
    for other in code_of(path):gmatch "require%s*%(?%s*[\"'](tide[%w_.]*)[\"']" do
      if other ~= name then
        needs[other] = true
      end
    end
    out[name] = { path = path, needs = needs }
  end
  return out
end

--- The room of a module: the folder under lua/tide, or the file's own name at the top.
function structure.room(name)
  return name:match "^tide%.([%w_]+)" or name
end

--- Needs folded to rooms: room -> { room = number of needs }.
function structure.rooms(modules)
  local out = {}
  for name, m in pairs(modules) do
    local from = structure.room(name)
    out[from] = out[from] or {}
    for other in pairs(m.needs) do
      local to = structure.room(other)
      if to ~= from and modules[other] then
        out[from][to] = (out[from][to] or 0) + 1
      end
    end
  end
  return out
end

local function sorted_keys(t)
  local out = {}
  for k in pairs(t) do
    out[#out + 1] = k
  end
  table.sort(out)
  return out
end

--- Components of more than one node, each a sorted list; the largest first (Tarjan, 1972).
--- @param needs table node -> table whose keys are nodes
function structure.circles(needs)
  local index, low, on, stack, count, out = {}, {}, {}, {}, 0, {}
  local function visit(v)
    count = count + 1
    index[v], low[v] = count, count
    stack[#stack + 1], on[v] = v, true
    for _, w in ipairs(sorted_keys(needs[v] or {})) do
      if not index[w] then
        visit(w)
        low[v] = math.min(low[v], low[w])
      elseif on[w] then
        low[v] = math.min(low[v], index[w])
      end
    end
    if low[v] == index[v] then
      local component = {}
      repeat
        local w = table.remove(stack)
        on[w] = nil
        component[#component + 1] = w
      until w == v
      if #component > 1 then
        table.sort(component)
        out[#out + 1] = component
      end
    end
  end
  for _, v in ipairs(sorted_keys(needs)) do
    if not index[v] then
      visit(v)
    end
  end
  table.sort(out, function(a, b)
    return #a > #b
  end)
  return out
end

--- The report as text.
function structure.report(root)
  local modules = structure.modules(root)
  local rooms = structure.rooms(modules)
  local out = {}
  for _, room in ipairs(sorted_keys(rooms)) do
    local to = {}
    for _, other in ipairs(sorted_keys(rooms[room])) do
      to[#to + 1] = other .. (rooms[room][other] > 1 and "*" .. rooms[room][other] or "")
    end
    out[#out + 1] = ("%-14s -> %s"):format(room, #to > 0 and table.concat(to, " ") or "-")
  end
  local by_module = {}
  for name, m in pairs(modules) do
    by_module[name] = m.needs
  end
  for _, kind in ipairs { { "rooms", rooms }, { "modules", by_module } } do
    local circles = structure.circles(kind[2])
    out[#out + 1] = ("%d %s in %d circle%s"):format(
      #sorted_keys(kind[2]), kind[1], #circles, #circles == 1 and "" or "s")
    for _, c in ipairs(circles) do
      out[#out + 1] = ("  %d: %s"):format(#c, table.concat(c, " "))
    end
  end
  return table.concat(out, "\n")
end

if arg and arg[0] and arg[0]:match "structure%.lua$" then
  print(structure.report(arg[1] or "lua"))
end

return structure
