--- Convolutions and pooling as keras.ops calls them: the first argument is also named `inputs`, and `data_format` stands after
--- the padding. The core computes channels last; "channels_first" goes through transposed views.
local core = require "tide.core"
local errors = require "tide.errors"

local windows = {}

-- Position of data_format among keras.ops' arguments.
local at = { conv = 5, depthwise_conv = 5, separable_conv = 6, conv_transpose = 6, max_pool = 5, average_pool = 5,
  adaptive_max_pool = 3, adaptive_average_pool = 3, depth_to_space = 3, space_to_depth = 3 }

local function apply(name, f, args)
  local place = at[name]
  local options = args[args.n]
  local format = args[place]
  if type(format) == "string" or (format == nil and args.n > place) then
    table.remove(args, place)
    args.n = args.n - 1
  else
    format = nil
  end
  if type(options) == "table" and getmetatable(options) == nil and (options.data_format or options.inputs) then
    local copy = {}
    for k, v in pairs(options) do
      copy[k] = v
    end
    format = format or options.data_format
    if options.inputs then
      table.insert(args, 1, options.inputs)
      args.n = args.n + 1
    end
    copy.data_format, copy.inputs = nil, nil
    args[args.n] = copy
  end
  if format == nil or format == "channels_last" then
    return f(table.unpack(args, 1, args.n))
  elseif format ~= "channels_first" then
    errors.raise(name, "data_format must be 'channels_last' or 'channels_first' (got '%s')", tostring(format))
  end
  args[1] = core.ops.moveaxis(args[1], 2, -1)
  return core.ops.moveaxis(f(table.unpack(args, 1, args.n)), -1, 2)
end

for name, place in pairs(at) do
  local f = core.ops[name]
  windows[name] = function(...)
    local n = select("#", ...)
    local last = select(n, ...)
    if n >= place or (type(last) == "table" and (rawget(last, "data_format") or rawget(last, "inputs"))) then
      return apply(name, f, table.pack(...))
    end
    return f(...)
  end
end

return windows
