--- The worker threads that data sets share (src/io/workers.c): there while a pass uses them, gone
--- with the last.
---
---     local ahead = require "tide.data.ahead"
---     local own = ahead.take()
---     own:workers()
---     own:close()
local core = require "tide.core"

local ahead = {}

local MOST = 16 -- threads

local shared, users = nil, 0

local Share = {}
Share.__index = Share

--- The workers, which are begun where there are none; in a forked process they are its own.
function Share:workers()
  if not self.counted then
    self.counted, users = true, users + 1
  end
  if not shared or not core.workers_ours(shared) then
    shared = core.workers_open(math.min(MOST, core.get_threads()))
  end
  return shared
end

--- Gives them back.
function Share:close()
  if self.counted then
    self.counted, users = false, users - 1
    if users == 0 and shared then
      core.workers_close(shared)
      shared = nil
    end
  end
end

Share.__close, Share.__gc = Share.close, Share.close

--- A share of the workers for one who closes it.
function ahead.take()
  return setmetatable({}, Share)
end

return ahead
