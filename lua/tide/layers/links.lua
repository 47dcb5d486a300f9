--- How PyTorch's modules hold the weights of layers: what the classes say in their field `torch`.
--
-- A link joins tensors of a state dict (`names`, after the module's own name and a dot) with
-- weights of a layer (`tensors`): `write` makes the former of the latter, `read` the latter of the
-- former. What `read` gives is reshaped to the weight's shape, so only orders are dealt with here.
-- `write` also tells which shapes are expected, from tensors without elements. Where `level` is a
-- number, the names hold a %d for it.
local ops = require "tide.ops"

local links = {}

local function same(...)
  return ...
end

--- A link of one tensor each; nil where the layer has no such weight.
--- @param read function|nil PyTorch's layout -> the layer's
--- @param write function|nil and back
function links.one(name, tensor, read, write)
  return tensor and { names = { name }, tensors = { tensor }, read = read or same,
    write = write or same } or nil
end

--- A list without what the layer has not: links, lists of them, nils.
function links.list(...)
  local out = {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if v and v.names then
      out[#out + 1] = v
    elseif v then
      table.move(v, 1, #v, #out + 1, out)
    end
  end
  return out
end

--- A link whose axes are in another order: axis i of PyTorch's tensor is axis `axes[i]` of ours.
function links.permuted(name, tensor, axes)
  local back = {}
  for i, axis in ipairs(axes) do
    back[axis] = i
  end
  return links.one(name, tensor, function(t)
    return ops.transpose(t, back)
  end, function(t)
    return ops.transpose(t, axes)
  end)
end

--- A matrix (inputs, outputs) whose axes may each be several, the first `inputs` of them the
--- inputs; PyTorch's Linear holds (outputs, inputs).
function links.linear(name, kernel, inputs)
  return kernel and links.one(name, kernel, function(t)
    return ops.transpose(t)
  end, function(t)
    local rows = 1
    for i = 1, inputs or 1 do
      rows = rows * t.shape[i]
    end
    return ops.transpose(ops.reshape(t, { rows, t.size // math.max(rows, 1) }))
  end)
end

--- A weight whose elements PyTorch holds in one axis.
function links.flat(name, tensor)
  return links.one(name, tensor, nil, function(t)
    return ops.reshape(t, { t.size })
  end)
end

--- The kernel of a convolution (sizes…, in, out) as PyTorch's (out, in, sizes…); of a transposed
--- one (sizes…, out, in) as (in, out, sizes…).
function links.convolution(name, kernel)
  if not kernel then
    return nil
  end
  local rank = #kernel.shape
  local axes = { rank, rank - 1 }
  for i = 1, rank - 2 do
    axes[i + 2] = i
  end
  return links.permuted(name, kernel, axes)
end

--- The kernel of a depthwise convolution (sizes…, in, multiplier) as (in * multiplier, 1, sizes…).
function links.depthwise(name, kernel)
  local rank = #kernel.shape
  local axes, sizes = { rank - 1, rank }, {}
  for i = 1, rank - 2 do
    axes[i + 2], sizes[i] = i, kernel.shape[i]
  end
  local back = {}
  for i = 1, rank - 2 do
    back[i] = i + 2
  end
  back[rank - 1], back[rank] = 1, 2
  return links.one(name, kernel, function(t)
    return ops.transpose(ops.reshape(t, { kernel.shape[rank - 1], kernel.shape[rank],
      table.unpack(sizes) }), back)
  end, function(t)
    return ops.reshape(ops.transpose(t, axes), { t.shape[rank - 1] * t.shape[rank], 1,
      table.unpack(sizes) })
  end)
end

-- The last axis in `order.n` equal parts, in another order.
local function gates(t, order)
  if not order then
    return t
  end
  local parts, out = ops.split(t, #order, -1), {}
  for i, at in ipairs(order) do
    out[i] = parts[at]
  end
  return ops.concatenate(out, -1)
end

--- A recurrent cell. PyTorch keeps two biases: they are added where the cell has one, and of a cell
--- that has one the second is zeros.
--- @param order table|nil at place i the gate of ours that is PyTorch's i-th; its own inverse
--- @param level integer|nil the layer's number in a module of several, which stands in the names
--- @param backward boolean|nil whether it is the module's backward direction
function links.recurrent(cell, order, level, backward)
  local suffix = (level and "_l%d" or "") .. (backward and "_reverse" or "")
  local function numbered(link)
    link.level = level
    return link
  end
  local function matrix(t)
    return gates(ops.transpose(t), order)
  end
  local function back(t)
    return ops.transpose(gates(t, order))
  end
  local bias = cell.bias or nil
  local two = bias and #bias.shape == 2
  return links.list(
    numbered(links.one("weight_ih" .. suffix, cell.kernel, matrix, back)),
    numbered(links.one("weight_hh" .. suffix, cell.recurrent_kernel, matrix, back)),
    bias and numbered { names = { "bias_ih" .. suffix, "bias_hh" .. suffix }, tensors = { bias },
      read = function(a, b)
        return gates(two and ops.stack({ a, b }, 1) or a + b, order)
      end,
      write = function(t)
        t = gates(t, order)
        if two then
          return t[1], t[2]
        end
        return t, ops.zeros_like(t)
      end })
end

--- Several projections of one input as one matrix, PyTorch's in_proj_weight: outputs of the first,
--- then of the second and so on. `inputs`: how many axes of each are inputs.
function links.stacked(name, tensors, inputs)
  local sizes = {}
  for i, t in ipairs(tensors) do
    sizes[i] = t.size
    for k = 1, inputs do
      sizes[i] = sizes[i] // math.max(t.shape[k], 1)
    end
  end
  local cuts = {}
  for i = 1, #sizes - 1 do
    cuts[i] = (cuts[i - 1] or 0) + sizes[i]
  end
  return { names = { name }, tensors = tensors,
    read = function(t)
      local parts = ops.split(t, cuts, 1)
      for i = 1, inputs > 0 and #parts or 0 do
        parts[i] = ops.transpose(parts[i])
      end
      return table.unpack(parts)
    end,
    write = function(...)
      local parts = {}
      for i, t in ipairs { ... } do
        parts[i] = inputs > 0 and ops.transpose(ops.reshape(t, { t.size // sizes[i], sizes[i] }))
          or ops.reshape(t, { sizes[i] })
      end
      return ops.concatenate(parts, 1)
    end }
end

return links
