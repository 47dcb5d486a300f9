--- The factors of LoRA in a file of their own, apart from the weights that they belong to: a
--- safetensors file, kilobytes beside the model's megabytes.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local factors = require "tide.layers.lora"
local safetensors = require "tide.saving.safetensors"

local lora = {}

local save_args = check.args("save_lora_weights", {
  { "filepath", "string", check.required, "where to write; ends in .safetensors" },
  { "overwrite", "bool", true, "replace an existing file" },
})

local function check_extension(path, owner)
  if not path:find ".%.safetensors$" then
    errors.raise(owner, "the name must end in .safetensors (got %s)", check.show(path))
  end
end

--- Writes the factors of all layers with LoRA, without the model's weights. Raises where no layer
--- has LoRA.
---
---     model:save_lora_weights "style.safetensors"
--- @param path string ends in .safetensors
--- @param o table|nil overwrite (true)
function lora.save_lora_weights(self, ...)
  local o = save_args:call(...)
  check_extension(o.filepath, "save_lora_weights")
  if not o.overwrite and core.file_exists(o.filepath) then
    errors.raise("save_lora_weights", "%s exists already and overwrite is false", o.filepath)
  end
  local entries, order = {}, {}
  for i, e in ipairs(factors.able(self)) do
    order[i] = e.path
    local own = e.layer[S].lora
    if own then
      entries[#entries + 1] = { e.path .. "/lora_a", own.a:detach() }
      entries[#entries + 1] = { e.path .. "/lora_b", own.b:detach() }
    end
  end
  if #entries == 0 then
    errors.raise("save_lora_weights", "no layer of %s has LoRA; layer:enable_lora(rank) gives it",
      self:_label())
  end
  safetensors.write(o.filepath, entries, { kind = "lora", order = order,
    lora = factors.described(self) })
end

-- The layers of a file in the model: list of { path in the file, layer, rank, alpha }; nil where
-- the model is another one. Layers may be numbered otherwise: their order decides.
local function fitting(model, order, layers)
  local here, out = factors.able(model), {}
  if type(order) ~= "table" or type(layers) ~= "table" or #order ~= #here then
    return nil
  end
  for i, e in ipairs(here) do
    local path = order[i]
    local unlike = type(path) ~= "string"
      or safetensors.unnumbered(path) ~= safetensors.unnumbered(e.path)
    local one = not unlike and layers[path]
    if unlike or one and not factors.is_description(one) then
      return nil
    end
    out[#out + 1] = one and { path = path, layer = e.layer, rank = one.rank, alpha = one.alpha }
      or nil
  end
  return out
end

local load_args = check.args("load_lora_weights", {
  { "filepath", "string", check.required, "what to read" },
})

--- Reads what `save_lora_weights` wrote into a model of the same layers that is built. Layers that
--- lack LoRA get it, with the file's rank. Nothing changes unless all fits.
---
---     model:load_lora_weights "style.safetensors"
--- @param path string
function lora.load_lora_weights(self, ...)
  local path = load_args:call(...).filepath
  check_extension(path, "load_lora_weights")
  local file <close>, entries, metadata = core.safetensors_open(path)
  local header = safetensors.read_header(path, metadata)
  if not header or header.kind ~= "lora" then
    errors.raise("load_lora_weights", "%s: the file holds no factors of LoRA", path)
  end
  local by_name, found = {}, fitting(self, header.order, header.lora)
  for i, e in ipairs(entries) do
    by_name[e.name] = i
  end
  local values = {}
  for k, e in ipairs(found or {}) do
    local a, b = by_name[e.path .. "/lora_a"], by_name[e.path .. "/lora_b"]
    a, b = a and core.safetensors_read(file, a), b and core.safetensors_read(file, b)
    local weight = rawget(e.layer, e.layer.lora_field)
    local fits = a and b and a.ndim == weight.ndim and a.shape[-1] == e.rank
      and b.shape:totable()[1] == e.rank and b.ndim == 2 and b.shape[-1] == weight.shape[-1]
    for i = 1, fits and weight.ndim - 1 or 0 do
      fits = fits and a.shape[i] == weight.shape[i]
    end
    if not fits then
      found = nil
      break
    elseif e.layer.lora_enabled and e.layer.lora_rank ~= e.rank then
      errors.raise("load_lora_weights", "%s: %s has LoRA of another rank (expected %d, got %d)",
        path, e.layer:_label(), e.layer.lora_rank, e.rank)
    end
    values[k] = { a, b }
  end
  if not found then
    errors.raise("load_lora_weights", "%s does not fit %s: layers that can have LoRA differ in \z
      number, name or shape", path, self:_label())
  end
  for k, e in ipairs(found) do
    if not e.layer.lora_enabled then
      e.layer:enable_lora(e.rank)
    end
    rawset(e.layer, "lora_alpha", e.alpha)
    e.layer[S].lora.a:assign(values[k][1])
    e.layer[S].lora.b:assign(values[k][2])
  end
end

return lora
