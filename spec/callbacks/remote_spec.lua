-- RemoteMonitor posts what a server understands.
local expect = require "spec.support.expect"
local tide = require "tide"
local json = require "tide.utils.json"

local function fit(o)
  local m = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 } } }
  m:compile { optimizer = "sgd", loss = "mse" }
  return m:fit(tide.ones { 4, 1 }, tide.ones { 4, 1 }, { epochs = 2, verbose = 0,
    callbacks = { tide.callbacks.RemoteMonitor(o) } })
end

describe("RemoteMonitor", function()
  local folder

  setup(function()
    folder = expect.folder()
    assert(os.execute(("env -u LD_PRELOAD ${CC:-cc} -O1 -o %s/catcher spec/support/catcher.c")
      :format(folder)))
  end)

  teardown(function()
    os.execute("rm -r " .. folder)
  end)

  -- The two requests of a training, and its history.
  local function caught(o)
    local pipe = io.popen(folder .. "/catcher 2")
    o[1] = "http://127.0.0.1:" .. pipe:read "l"
    local h = fit(o)
    local text = pipe:read "a"
    pipe:close()
    local out = {}
    for one in text:gmatch "(.-)\n%-%-\n" do
      local head, body = one:match "^(.-)\r\n\r\n(.*)$"
      out[#out + 1] = { head = head, body = body }
    end
    assert.equal(2, #out)
    return out, h
  end

  it("sends JSON, with headers", function()
    local got, h = caught { send_as_json = true, path = "/in", headers = { ["X-Key"] = "abc" } }
    assert.matches("^POST /in HTTP/1.1\r\nHost: 127.0.0.1:%d+\r\n", got[2].head)
    expect.has(got[2].head, "\r\nContent-Type: application/json\r\n")
    expect.has(got[2].head, "\r\nX-Key: abc")
    assert.same({ epoch = 2, loss = h.loss[2] }, json.decode(got[2].body))
  end)

  it("sends a form", function()
    local got, h = caught { field = "my data" }
    expect.has(got[1].head, "POST /publish/epoch/end/ HTTP/1.1")
    expect.has(got[1].head, "application/x-www-form-urlencoded")
    local body = got[1].body:match "^my%%20data=(.*)$":gsub("%%(%x%x)", function(x)
      return string.char(tonumber(x, 16))
    end)
    assert.same({ epoch = 1, loss = h.loss[1] }, json.decode(body))
  end)

  it("ends no training where there is no server", function()
    assert.equal(2, #fit({ "http://127.0.0.1:1" }).loss)
  end)

  it("refuses what is no address", function()
    for _, o in ipairs { { "localhost" }, { "https://a" }, { "http://a b" }, { path = "/a b" },
      { headers = { a = "x\r\ny" } }, { headers = { "x" } }, { timeout = 0 } } do
      expect.raises("RemoteMonitor", tide.callbacks.RemoteMonitor, o)
    end
  end)
end)
