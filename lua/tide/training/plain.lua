--- Values of Lua as a file holds them: numbers keep their bits, tensors stand beside the JSON, and
--- what an object knows (a metric, a callback) is the plain part of its fields.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local kept = require "tide.training.kept"
local list = require "tide.list"
local none = require "tide.none"

local plain = {}

--- Whether a value is a metric.
function plain.is_metric(v)
  local meta = getmetatable(v)
  return type(meta) == "table" and v.kind == "metric" and rawget(v, "name") ~= nil
end
local is_metric = plain.is_metric

local function is_table(v)
  return check.is_plain(v) or list.is(v)
end

-- Whether a file can hold a value; of a table, whether it is of a kind that it can hold.
local function known(v)
  local t = type(v)
  return t == "number" or t == "string" or t == "boolean" or v == none
    or (t == "userdata" and core.is_tensor(v)) or (t == "table" and (is_table(v) or is_metric(v)))
end

local function hex(s)
  return (s:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

local function unhex(s)
  return (s:gsub("%x%x", function(h)
    return string.char(tonumber(h, 16))
  end))
end

-- ---- writing ----

local Writer = {}
Writer.__index = Writer

--- Collects tensors as entries for core.safetensors_write, under names that begin with "@value/".
--- @param entries table list of { name, tensor }
function plain.writer(entries)
  return setmetatable({ entries = entries, seen = {}, n = 0 }, Writer)
end

--- What JSON holds of a value; nil for functions and objects, which a file cannot hold.
function Writer:value(v)
  local t = math.type(v) or type(v)
  if not known(v) then
    return nil
  elseif v == none then
    return { none = true }
  elseif t == "boolean" then
    return v
  elseif t == "integer" then
    return "i" .. tostring(v)
  elseif t == "float" then
    return "f" .. hex(string.pack(">d", v))
  elseif t == "string" then
    return utf8.len(v) and "s" .. v or "x" .. hex(v)
  end
  local at = self.seen[v]
  if at then
    return { again = at }
  end
  self.n = self.n + 1
  local out = { id = self.n }
  self.seen[v] = self.n
  if t == "userdata" then
    out.tensor = "@value/" .. self.n
    self.entries[#self.entries + 1] = { out.tensor, v:detach() }
  else
    out.kind = is_metric(v) and "metric" or list.is(v) and "list" or "table"
    out.fields = self:fields(v)
  end
  return out
end

-- Keys in an order that two runs share.
local function keys_of(v)
  local keys = {}
  for k in next, v do
    if type(k) == "string" or type(k) == "number" or type(k) == "boolean" then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys, function(a, b)
    local s, t = type(a), type(b)
    return s < t or (s == t and (s == "boolean" and not a and b or s ~= "boolean" and a < b))
  end)
  return keys
end

--- The plain fields of a table or an object as a list of { key, value }.
--- @param skip table|nil set of names that are left out
function Writer:fields(v, skip)
  local out = {}
  for _, k in ipairs(keys_of(v)) do
    if not (skip and skip[k]) then
      local value = self:value(rawget(v, k))
      if value ~= nil then
        out[#out + 1] = { self:value(k), value }
      end
    end
  end
  return out
end

-- ---- reading ----

local Reader = {}
Reader.__index = Reader

--- @param tensor function of an entry's name; returns the tensor
--- @param assign function of (tensor, value), called for tensors that are there already
function plain.reader(tensor, assign)
  return setmetatable({ tensor = tensor, assign = assign, made = {} }, Reader)
end

local same_kind = kept.same_kind

--- The value. Tensors and metrics that are there already keep their identity.
--- @param v any what `Writer.value` made
--- @param there any the value that stands there now
function Reader:value(v, there)
  if type(v) == "boolean" then
    return v
  elseif type(v) == "string" then
    local kind, text = v:sub(1, 1), v:sub(2)
    if kind == "i" then
      return assert(math.tointeger(tonumber(text)))
    elseif kind == "f" then
      return (string.unpack(">d", unhex(text)))
    end
    return kind == "x" and unhex(text) or text
  elseif v.none then
    return none
  elseif v.again then
    return self.made[v.again]
  end
  if v.tensor then
    local value = self.tensor(v.tensor)
    if same_kind(there, value) then
      self.assign(there, value)
      value = there
    end
    self.made[v.id] = value
    return value
  end
  local out = {}
  if v.kind == "metric" then
    out = type(there) == "table" and is_metric(there) and there or nil
    if not out then
      return nil
    end
  elseif v.kind == "list" then
    out = list.new {}
  end
  self.made[v.id] = out
  self:fields(v.fields, out, type(there) == "table" and there ~= none and there or {})
  return out
end

-- Raises where a value is of another type than the one that stands there, or a tensor of another
-- form.
local function check_type(k, value, there)
  local now, was = type(value), type(there)
  if value == nil or there == nil or value == none or there == none then
    return
  elseif now ~= was then
    errors.raise("fit", "%s is damaged (expected a %s, got a %s)", check.show(k), was, now)
  elseif now == "userdata" and not same_kind(there, value) then
    errors.raise("fit", "%s is damaged (expected a tensor of %s %s, got %s %s)", check.show(k),
      there.dtype, tostring(there.shape), value.dtype, tostring(value.shape))
  end
end

--- Writes the fields into `out`; plain ones that the file does not have go.
--- @param fields table what `Writer.fields` made
--- @param out table
--- @param there table|nil the fields that are there now, `out`'s own when left out
--- @param skip table|nil set of names that are left alone
--- @param where string|nil the file, for objects whose class says what it keeps
function Reader:fields(fields, out, there, skip, where)
  there = there or out
  local values = {}
  for _, pair in ipairs(fields) do
    local k = self:value(pair[1])
    values[k] = self:value(pair[2], rawget(there, k))
    if not where then
      check_type(k, values[k], rawget(there, k))
    end
  end
  if where then
    kept.check(values, out, where)
  end
  for _, k in ipairs(keys_of(out)) do
    if values[k] == nil and known(rawget(out, k)) and not (skip and skip[k]) then
      rawset(out, k, nil)
    end
  end
  for k, value in next, values do
    if not (skip and skip[k]) then
      rawset(out, k, value)
    end
  end
end

return plain
