--- Tables of named columns, of files and of Lua values: tide.data.table.
local Table = require "tide.data.tables.table"
require "tide.data.tables.read"
require "tide.data.tables.group"
require "tide.data.tables.show"
require "tide.data.tables.dataset"
return Table
