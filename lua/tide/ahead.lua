--- The worker threads that data sets share (src/io/workers.c): there while a pass uses them, gone
--- with the last.
---
---     local ahead = require "tide.ahead"
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

-- What a loop closes that is left.
local Left = {}

function Left.__close(loop)
  if not loop.ended() then
    loop.owner:close()
  end
end

--- For the end of what a pass gives a generic for: closes the owner with a loop that is left before
--- `ended()` is true.
function ahead.closing(owner, ended)
  return setmetatable({ owner = owner, ended = ended }, Left)
end

--- A share of the workers for one who closes it.
function ahead.take()
  return setmetatable({}, Share)
end

return ahead
