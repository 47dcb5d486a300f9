--- RemoteMonitor: events of training for a server.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local none = require "tide.none"
local object = require "tide.object"
local tensors = require "tide.training.tensors"

local base = require "tide.callbacks.base"

--- Posts the logs of each epoch, and `epoch` (from 1), to `root .. path` by HTTP: as the form field
--- `field` that holds JSON, or as JSON itself. A server that cannot be reached ends no training;
--- that is said once. Numbers that are not finite go as null.
--     local c = tide.callbacks.RemoteMonitor { "http://localhost:9000", send_as_json = true }
local Monitor = object.class("RemoteMonitor", base.Callback, {
  rows = {
    { "root", "string", "http://localhost:9000", "the server: http://host:port" },
    { "path", "string", "/publish/epoch/end/", "on the server" },
    { "field", "string", "data", "name of the form's field" },
    { "headers", "table", nil, "more headers, texts by name" },
    { "send_as_json", "bool", false, "JSON itself in place of a form" },
  },
  named = { { "timeout", "number", 5, "seconds to wait", above = 0, max = 3600 } },
  init = function(self)
    local host, port, before = self.root:match "^http://([%w%.%-]+):?(%d*)(/?[^%c%s]*)$"
    if not host then
      host, port, before = self.root:match "^http://%[([%x:]+)%]:?(%d*)(/?[^%c%s]*)$"
    end
    if not host then
      errors.raise("RemoteMonitor", "root must be http://host:port (got %s)", check.show(self.root))
    elseif self.path:find "[%c%s]" then
      errors.raise("RemoteMonitor", "path must be without spaces (got %s)", check.show(self.path))
    end
    for k, v in pairs(self.headers or {}) do
      if type(k) ~= "string" or type(v) ~= "string" or not k:find "^[%w%-_]+$" or v:find "%c" then
        errors.raise("RemoteMonitor", "headers must be texts of one line by name (got [%s] = %s)",
          check.show(k), check.show(v))
      end
    end
    self._host, self._port, self._before = host, port ~= "" and port or "80", before
  end,
})

local function escaped(s)
  return (s:gsub("[^%w%-%._~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

local function request(self, body, kind)
  local lines = { ("POST %s%s HTTP/1.1"):format(self._before, self.path),
    ("Host: %s:%s"):format(self._host, self._port), "Connection: close", "Content-Type: " .. kind,
    "Content-Length: " .. #body }
  for _, k in ipairs(check.sorted_keys(self.headers or {})) do
    lines[#lines + 1] = k .. ": " .. self.headers[k]
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

function Monitor:on_epoch_end(epoch, logs)
  local send = { epoch = epoch }
  for k, v in pairs(logs or {}) do
    v = type(v) == "userdata" and v.size == 1 and tensors.number(v) or v
    if type(v) == "number" then
      send[k] = v - v == 0 and v or none
    end
  end
  local text = json.encode(send)
  local body = self.send_as_json and text or escaped(self.field) .. "=" .. escaped(text)
  local ok, answer = pcall(core.http, self._host, self._port, request(self, body,
    self.send_as_json and "application/json" or "application/x-www-form-urlencoded"), self.timeout)
  if not ok and (not errors.is(answer) or tostring(answer):find("interrupted!", 1, true)) then
    error(answer, 0)
  elseif not ok and not self._told then
    self._told = true
    errors.warn("RemoteMonitor: could not reach the server at %s (%s); training goes on", self.root,
      tostring(answer.message or answer))
  end
end

return { RemoteMonitor = Monitor }
