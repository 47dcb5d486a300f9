--- Indexing by masks and by tensors of positions: what t[...] passes on when its key holds tensors.
--- Ranges and numbers are C's.
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"
local ops = core.ops

local indexing = {}

-- Positions (1-based, int64) where a mask is true, as row-major numbers.
local function positions(mask)
  return ops.flatnonzero(mask)
end

local function mask_fits(t, mask)
  if mask.ndim > t.ndim then
    errors.raise("index", "the mask has more axes than the tensor (expected at most %d, got %d)",
      t.ndim, mask.ndim)
  end
  for i = 1, mask.ndim do
    if mask.shape[i] ~= t.shape[i] then
      errors.raise("index", "the mask does not fit (expected %s, got %s)", tostring(t.shape),
        tostring(mask.shape))
    end
  end
end

-- t with its first `n` axes flattened to one.
local function flat_front(t, n)
  local shape = { 1 }
  for i = 1, n do
    shape[1] = shape[1] * t.shape[i]
  end
  for i = n + 1, t.ndim do
    shape[#shape + 1] = t.shape[i]
  end
  return t:reshape(shape)
end

-- Splits a key list into one entry per axis: numbers, ranges and tensors; "..." filled up, "new"
-- refused.
local function entries_of(t, key)
  local axes, rest = 0, false
  for i = 1, #key do
    if key[i] == "..." then
      rest = true
    elseif key[i] == "new" then
      errors.raise("index", '"new" cannot stand beside tensors of positions; index twice')
    else
      axes = axes + 1
    end
  end
  if axes > t.ndim then
    errors.raise("index", "more entries than axes (expected at most %d, got %d)", t.ndim, axes)
  end
  local out = {}
  for i = 1, #key do
    if key[i] == "..." then
      for _ = 1, t.ndim - axes do
        out[#out + 1] = {}
      end
    else
      out[#out + 1] = key[i]
    end
  end
  if not rest then
    for _ = 1, t.ndim - axes do
      out[#out + 1] = {}
    end
  end
  return out
end

-- The type of the first entry that no key can have.
local function odd_entry(entries)
  for _, e in ipairs(entries) do
    if type(e) ~= "number" and not core.is_tensor(e) then
      local range = type(e) == "table" and e ~= none and #e <= 3
      for _, bound in ipairs(range and e or {}) do
        range = range and math.tointeger(bound) ~= nil
      end
      if not range then
        return e == none and "none"
          or type(e) == "string" and ("'%.40s'"):format(e)
          or type(e) == "table" and "a table that is no range"
          or type(e)
      end
    end
  end
  return "a number that is no position"
end

-- Brings the axes that tensors address to the front. Returns the tensor, their list, where they
-- stood, whether side by side.
local function advanced(t, key)
  if type(key) ~= "table" or key == none then
    errors.raise("index", "a key must be a number, a list or a tensor (got %s)",
      key == none and "none" or type(key))
  end
  local entries = entries_of(t, key)
  local basic, tensors, at = {}, {}, {}
  local axis = 0
  for i, e in ipairs(entries) do
    if core.is_tensor(e) then
      if e.dtype == "bool" then
        if e.ndim ~= 1 or #e ~= t.shape[i] then
          errors.raise("index", "a mask inside a list must have one axis of %d (got %s)",
            t.shape[i], tostring(e.shape))
        end
        e = positions(e)
      end
      basic[i] = {}
      axis = axis + 1
      tensors[#tensors + 1] = e
      at[#at + 1] = axis
    else
      basic[i] = e
      if type(e) ~= "number" then
        axis = axis + 1
      end
    end
  end
  -- without tensors the key is C's, and C sent it here because it could not read it
  if #tensors == 0 then
    errors.raise("index",
      'a key has a wrong entry (expected a number, { first, last, step }, "...", "new" or a \z
      tensor, got %s)',
      odd_entry(entries))
  end
  local part = t[basic]
  local order, taken = {}, {}
  for _, a in ipairs(at) do
    order[#order + 1] = a
    taken[a] = true
  end
  for a = 1, part.ndim do
    if not taken[a] then
      order[#order + 1] = a
    end
  end
  return part, order, tensors, at
end

-- One row-major number per addressed element from several tensors of positions that broadcast.
local function combine(part, at, tensors)
  if #tensors == 1 then
    return tensors[1]
  end
  local flat
  for k, index in ipairs(tensors) do
    local n = part.shape[at[k]]
    index = index:cast "int64"
    local zero = index - 1
    local low, high = ops.less(index, 0), ops.logical_or(ops.greater(index, n), ops.less(index, -n))
    if ops.any(high) or ops.any(ops.equal(index, 0)) then
      errors.raise("index", "a position on axis %d is out of range (expected 1..%d or -1..-%d)",
        at[k], n, n)
    end
    zero = ops.where(low, index + n, zero)
    flat = flat and flat * n + zero or zero
  end
  return flat + 1
end

-- The axis from which the axes of the index stand in what a key addresses: where the first tensor
-- stands when the tensors stand side by side, else the first axis (NumPy).
local function place(at)
  for k = 2, #at do
    if at[k] ~= at[k - 1] + 1 then
      return 1
    end
  end
  return at[1]
end

function indexing.get(t, key)
  if core.is_tensor(key) then
    if key.dtype == "bool" then
      mask_fits(t, key)
      return flat_front(t, key.ndim):take(positions(key), { axis = 1 })
    end
    return t:take(key, { axis = 1 })
  end
  local part, order, tensors, at = advanced(t, key)
  local front = flat_front(part:transpose(order), #tensors)
  local index = combine(part, at, tensors)
  local out = front:take(index, { axis = 1 })
  local first = place(at)
  if first > 1 then
    local n, back = index.ndim, {}
    for a = 1, first - 1 do
      back[#back + 1] = n + a
    end
    for a = 1, n do
      back[#back + 1] = a
    end
    for a = n + first, out.ndim do
      back[#back + 1] = a
    end
    out = out:transpose(back)
  end
  return out
end

function indexing.set(t, key, value)
  if not core.is_tensor(value) then
    value = core.tensor(value, { dtype = type(value) ~= "boolean" and t.dtype or nil })
  end
  local scalar = value.ndim == 0
  if scalar then
    value = value:reshape { 1 } -- integer results without axes would become Lua numbers
  end
  local part, order, index
  if core.is_tensor(key) then
    if key.dtype == "bool" then
      mask_fits(t, key)
      if scalar and key.ndim == t.ndim then
        core.overwrite(t, ops.where(key, value:cast(t.dtype), t))
        return
      end
      part, index = flat_front(t, key.ndim), positions(key)
    else
      part, index = t, key
    end
  else
    local whole, tensors, at
    whole, order, tensors, at = advanced(t, key)
    part, index = flat_front(whole:transpose(order), #tensors), combine(whole, at, tensors)
    -- the value has the axes of what reading gives; those of the index go to the front
    local first, n, shape, to_front = place(at), index.ndim, {}, {}
    for a = 2, first do
      shape[#shape + 1] = part.shape[a]
    end
    for a = 1, n do
      shape[#shape + 1], to_front[a] = index.shape[a], first - 1 + a
    end
    for a = first + 1, part.ndim do
      shape[#shape + 1] = part.shape[a]
    end
    for a = 1, #shape do
      if a < first or a >= first + n then
        to_front[#to_front + 1] = a
      end
    end
    local rows = ops.broadcast_to(value:cast(t.dtype), shape):transpose(to_front)
    local updated = part:copy()
    updated = ops.put_rows(updated, index:reshape { -1 },
      rows:reshape { index.size, table.unpack(part.shape, 2) })
    local back = {}
    for i, a in ipairs(order) do
      back[a] = i
    end
    local front = whole:transpose(order)
    updated = updated:reshape(front.shape):transpose(back)
    local basic = {}
    for i, e in ipairs(entries_of(t, key)) do
      basic[i] = core.is_tensor(e) and {} or e
    end
    t[basic] = updated
    return
  end
  local shape = { index.size, table.unpack(part.shape, 2) }
  local read = table.move(index.shape, 1, index.ndim, 1, {}) -- the shape of what reading gives
  table.move(part.shape, 2, part.ndim, #read + 1, read)
  local rows = ops.broadcast_to(value:cast(t.dtype), read):reshape(shape)
  core.overwrite(t, ops.put_rows(part, index:reshape { -1 }, rows):reshape(t.shape))
end

return indexing
