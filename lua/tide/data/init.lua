--- Data pipelines, tf.data's: tide.data.Dataset, what reads records and lines, and helpers.
local core = require "tide.core"
local namespace = require "tide.namespace"
local stage = require "tide.data.stage"

local data = {
  AUTOTUNE = -1,
  INFINITE_CARDINALITY = stage.INFINITE,
  UNKNOWN_CARDINALITY = stage.UNKNOWN,
}

--- How many worker threads passes over data have now: those of pictures, of batches, records and
--- texts that are made ahead. They go with the pass, or with the loop over `iter()` that is left.
---
---     tide.data.threads()   --> 0
--- @return integer
function data.threads()
  return core.workers_alive()
end

local modules = {
  Dataset = { "tide.data.whole" },
  TFRecordDataset = "tide.data.readers",
  TextLineDataset = "tide.data.readers",
  FixedLengthRecordDataset = "tide.data.readers",
  CsvDataset = "tide.data.readers",
  TFRecordWriter = "tide.data.readers",
  table = { "tide.data.table" },
  example = "tide.data.example",
  parse_example = "tide.data.example",
  make_csv_dataset = "tide.data.tables.csv_dataset",
}

return namespace.new("tide.data", data, { members = data, modules = modules })
