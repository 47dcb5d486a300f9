--- Sequences for models: pad_sequences, skipgrams, make_sampling_table, TimeseriesGenerator
--- (keras.preprocessing.sequence), and SequenceGenerator, which makes windows of one or many series
--- with targets one or several steps ahead.
---
---     local sequence = tide.preprocessing.sequence
---     sequence.pad_sequences({ { 1, 2, 3 }, { 4 } }):tolist()   --> { { 1, 2, 3 }, { 0, 0, 4 } }
local namespace = require "tide.namespace"

local place = {}
for module, names in pairs {
  ["tide.preprocessing.sequence.pairs"] = "pad_sequences skipgrams make_sampling_table",
  ["tide.preprocessing.sequence.windows"] = "TimeseriesGenerator SequenceGenerator",
} do
  for name in names:gmatch "%S+" do
    place[name] = module
  end
end

return namespace.new("tide.preprocessing.sequence", {}, { modules = place })
