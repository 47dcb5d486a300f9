--- Products over named axes: einsum and tensordot, written with transpose, reshape and matmul.
--
-- A pair of operands is brought into the form (batch, free, summed) x (batch, summed, free) and
-- multiplied as a batch of matrices; batch axes stay apart, so that those of length 1 broadcast.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local linear = {}

-- -- equations -------------------------------------------------------------------------------

-- "bij,bjk->bik" as lists of labels. The axes of "..." get the labels ".1", ".2", ... counted from
-- the right.
local function parse(equation, ranks)
  local left, right = equation:gsub("%s", ""):match "^([^>]-)%->(.*)$"
  left = left or equation:gsub("%s", "")
  if left:find("[^%a,.]") or (right and right:find "[^%a.]") then
    errors.raise("einsum", "an equation holds letters, commas, '...' and one '->' (got %q)",
      equation)
  end
  local terms, widest = {}, 0
  for text in (left .. ","):gmatch "([^,]*)," do
    terms[#terms + 1] = text
  end
  if #terms ~= #ranks then
    errors.raise("einsum", "the equation %q names %d operands, %d tensors are given", equation,
      #terms, #ranks)
  end
  local function labels(text, rank)
    local before, after = text:match "^([%a]*)%.%.%.([%a]*)$"
    if not before then
      if text:find(".", 1, true) then
        errors.raise("einsum", "'...' stands once and whole in a term (got %q)", text)
      end
      before, after = text, ""
    end
    local letters = #before + #after
    local dots = before == text and 0 or (rank or widest + letters) - letters
    if dots < 0 or (rank and letters + dots ~= rank) then
      errors.raise("einsum", "term %q does not fit its tensor (expected %d axes, got %d)", text,
        letters, rank)
    end
    widest = math.max(widest, dots)
    local out = {}
    for c in before:gmatch "." do
      out[#out + 1] = c
    end
    for i = dots, 1, -1 do
      out[#out + 1] = "." .. i
    end
    for c in after:gmatch "." do
      out[#out + 1] = c
    end
    return out
  end
  local inputs, count = {}, {}
  for i, text in ipairs(terms) do
    inputs[i] = labels(text, ranks[i])
    for _, l in ipairs(inputs[i]) do
      count[l] = (count[l] or 0) + 1
    end
  end
  local output
  if right then
    output = labels(right)
    local seen = {}
    for _, l in ipairs(output) do
      if seen[l] then
        errors.raise("einsum", "the result names axis %q twice (%q)", l, equation)
      end
      if not count[l] and l:sub(1, 1) ~= "." then
        errors.raise("einsum", "the result names axis %q, which no operand has (%q)", l, equation)
      end
      seen[l] = true
    end
  else -- implicit: the axes of "...", then every letter that stands once, in order of the alphabet
    output = {}
    for i = widest, 1, -1 do
      output[#output + 1] = "." .. i
    end
    local once = {}
    for l, n in pairs(count) do
      if n == 1 and l:sub(1, 1) ~= "." then
        once[#once + 1] = l
      end
    end
    table.sort(once)
    table.move(once, 1, #once, #output + 1, output)
  end
  return inputs, output
end

-- -- operands: { tensor, labels } ------------------------------------------------------------

local function position(list, label)
  for i, l in ipairs(list) do
    if l == label then
      return i
    end
  end
end

local function permuted(x, axes)
  for i, a in ipairs(axes) do
    if i ~= a then
      return ops.transpose(x, axes)
    end
  end
  return x
end

-- x with its axes in the order of `order`, which holds the same labels.
local function ordered(x, labels, order)
  local axes = {}
  for i, l in ipairs(order) do
    axes[i] = position(labels, l)
  end
  return permuted(x, axes)
end

-- A label that stands twice in one term: the diagonal of its two axes, as every (n + 1)-th element
-- of both joined.
local function diagonal(x, labels)
  for i = 1, #labels do
    for j = i + 1, #labels do
      if labels[i] == labels[j] then
        local n = x.shape[i]
        if x.shape[j] ~= n then
          errors.raise("einsum", "axis %q has two extents in one tensor (%d and %d)", labels[i], n,
            x.shape[j])
        end
        local axes, rest, shape = {}, {}, {}
        for k = 1, #labels do
          if k ~= i and k ~= j then
            axes[#axes + 1], rest[#rest + 1], shape[#shape + 1] = k, labels[k], x.shape[k]
          end
        end
        axes[#axes + 1], axes[#axes + 2], rest[#rest + 1], shape[#shape + 1] = i, j, labels[i],
          n * n
        local y = ops.reshape(permuted(x, axes), shape)
        return diagonal(y[{ "...", { 1, n * n, n + 1 } }], rest)
      end
    end
  end
  return x, labels
end

local function sum_axes(x, labels, gone)
  local axes, rest = {}, {}
  for i, l in ipairs(labels) do
    if gone[l] then
      axes[#axes + 1] = i
    else
      rest[#rest + 1] = l
    end
  end
  return #axes > 0 and ops.sum(x, axes) or x, rest
end

-- a and b as one operand. `later`: labels that the result or another operand still needs.
local function contract(a, b, later)
  local batch, summed, free_a, free_b = {}, {}, {}, {}
  local extent = {}
  for i, l in ipairs(a.labels) do
    extent[l] = a.x.shape[i]
  end
  for i, l in ipairs(b.labels) do
    local n, m = extent[l], b.x.shape[i]
    if n and n ~= m and n ~= 1 and m ~= 1 then
      errors.raise("einsum", "axis %q has two extents (%d and %d)", l, n, m)
    end
    extent[l] = n and n ~= 1 and n or m
  end
  for i, l in ipairs(a.labels) do
    local at = position(b.labels, l)
    local meets = at and b.x.shape[at] == a.x.shape[i]
    local list = not at and free_a or (later[l] or not meets) and batch or summed
    list[#list + 1] = l
  end
  for _, l in ipairs(b.labels) do
    if not position(a.labels, l) then
      free_b[#free_b + 1] = l
    end
  end
  local function product(list, op)
    local n = 1
    for _, l in ipairs(list) do
      n = n * op.x.shape[position(op.labels, l)]
    end
    return n
  end
  local function flat(op, groups, order, joined)
    local shape = {}
    for _, l in ipairs(batch) do
      shape[#shape + 1] = op.x.shape[position(op.labels, l)]
    end
    table.move(joined, 1, #joined, #shape + 1, shape)
    local list = table.move(batch, 1, #batch, 1, {})
    for _, g in ipairs(order) do
      table.move(groups[g], 1, #groups[g], #list + 1, list)
    end
    return ops.reshape(ordered(op.x, op.labels, list), shape)
  end
  local m, n, k = product(free_a, a), product(free_b, b), product(summed, a)
  local labels = table.move(batch, 1, #batch, 1, {})
  table.move(free_a, 1, #free_a, #labels + 1, labels)
  table.move(free_b, 1, #free_b, #labels + 1, labels)
  local groups = { free_a, free_b, summed }
  local y
  if #summed == 0 then
    y = flat(a, groups, { 1 }, { m, 1 }) * flat(b, groups, { 2 }, { 1, n })
  -- a dot product per batch: nothing for a matrix product to reuse
  elseif #free_a == 0 and #free_b == 0 then
    y = ops.sum(flat(a, groups, { 3 }, { k }) * flat(b, groups, { 3 }, { k }), -1)
  else
    y = ops.matmul(flat(a, groups, { 1, 3 }, { m, k }), flat(b, groups, { 3, 2 }, { k, n }))
  end
  local shape = {}
  for i, l in ipairs(labels) do
    shape[i] = extent[l]
  end
  return { x = ops.reshape(y, shape), labels = labels }
end

local function size_after(a, b, later)
  local n, seen = 1, {}
  for _, op in ipairs { a, b } do
    for i, l in ipairs(op.labels) do
      if later[l] and not seen[l] then
        n = n * op.x.shape[i]
        seen[l] = true
      end
    end
  end
  return n
end

--- Sums of products over named axes (Einstein's convention), NumPy's and Keras' equations: letters
--- name axes, "..." stands for
-- any axes (which broadcast), a letter repeated in one term takes the diagonal, letters missing
-- after "->" are summed. Several operands are contracted in pairs, those with the smallest product
-- first.
--- @param subscripts string the equation, for example "bij,bjk->bik"
--- @param ... tide.Tensor the operands, one per term
--- @return tide.Tensor
--     tide.ops.einsum("ij,jk->ik", { { 1, 2 } }, { { 3 }, { 4 } })   --> { { 11 } }
function linear.einsum(subscripts, ...)
  local list = table.pack(...)
  if list.n == 1 and type(list[1]) == "table" and core.is_tensor(list[1][1]) then
    list = list[1]
  end
  if type(subscripts) ~= "string" then
    errors.raise("einsum", "the equation comes first (got %s)", type(subscripts))
  end
  local n = list.n or #list
  local tensors, ranks = {}, {}
  for i = 1, n do
    if list[i] == nil then
      errors.raise("einsum", "operand %d must be a tensor (got nil)", i)
    end
    tensors[i] = core.is_tensor(list[i]) and list[i] or core.tensor(list[i])
    ranks[i] = tensors[i].ndim
  end
  local inputs, output = parse(subscripts, ranks)
  local in_output, operands = {}, {}
  for _, l in ipairs(output) do
    in_output[l] = true
  end
  for i = 1, n do
    local x, labels = diagonal(tensors[i], inputs[i])
    operands[i] = { x = x, labels = labels }
  end
  -- labels needed by the result or by an operand other than p and q
  local function needed(p, q)
    local out = {}
    for l in pairs(in_output) do
      out[l] = true
    end
    for i, o in ipairs(operands) do
      if i ~= p and i ~= q then
        for _, l in ipairs(o.labels) do
          out[l] = true
        end
      end
    end
    return out
  end
  -- what one operand alone has and nobody needs is summed at once
  for i, o in ipairs(operands) do
    local keep, gone = needed(i), {}
    for _, l in ipairs(o.labels) do
      gone[l] = not keep[l]
    end
    o.x, o.labels = sum_axes(o.x, o.labels, gone)
  end
  while #operands > 1 do
    local p, q, least = 1, 2, math.huge
    if #operands > 2 then
      for i = 1, #operands do
        for j = i + 1, #operands do
          local size = size_after(operands[i], operands[j], needed(i, j))
          if size < least then
            p, q, least = i, j, size
          end
        end
      end
    end
    local later = needed(p, q)
    local c = contract(operands[p], operands[q], later)
    table.remove(operands, q)
    operands[p] = c
    local gone = {} -- axes of length 1 that met longer ones were kept for broadcasting
    for _, l in ipairs(c.labels) do
      gone[l] = not later[l]
    end
    c.x, c.labels = sum_axes(c.x, c.labels, gone)
  end
  local last = operands[1]
  local present = {}
  for _, l in ipairs(output) do -- "..." of the result where no operand had axes for it
    if position(last.labels, l) then
      present[#present + 1] = l
    end
  end
  return ordered(last.x, last.labels, present)
end

local tensordot_args = check.args("tensordot", {
  { "x1", "tensor", check.required },
  { "x2", "tensor", check.required },
  { "axes", "any", 2, "how many, or a list of two" },
})

--- Sum of products over paired axes. `axes`: a number n pairs the last n axes of x1 with the first
--- n of x2; a list of two
-- (numbers or lists, counted from 1) names them. Keras: ops.tensordot.
--     tide.ops.tensordot({ 1, 2 }, { 3, 4 }, 1)   --> 11
function linear.tensordot(...)
  local o = tensordot_args:call(...)
  local axes = o.axes
  if type(axes) == "number" then
    return ops.tensordot_(o.x1, o.x2, { axes = axes })
  end
  if not check.is_list(axes) or #axes ~= 2 then
    errors.raise("tensordot", "axes must be a number or a list of two (got %s)", check.show(axes))
  end
  local a1, a2 = axes[1], axes[2]
  a1, a2 = type(a1) == "table" and a1 or { a1 }, type(a2) == "table" and a2 or { a2 }
  return ops.tensordot_(o.x1, o.x2, { axes1 = a1, axes2 = a2 })
end

return linear
