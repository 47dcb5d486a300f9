-- Ends of texts, of long ones too: a pattern would begin anew at each of a million places.
local ends = require "tide.ends"
local tide = require "tide"

describe("the end of a text", function()
  local long = ("x"):rep(1000000)

  it("stands behind the last mark, or is all of it", function()
    for _, row in ipairs { { "a/b/c", "c", 4 }, { "c", "c", 0 }, { "a/", "", 2 }, { "", "", 0 },
      { "/a", "a", 1 }, { long .. "/y", "y", #long + 1 }, { long, long, 0 } } do
      local text, at = ends.behind(row[1], "/")
      assert.is_true(row[2] == text, row[1]:sub(1, 9))
      assert.equal(row[3], at)
    end
  end)

  it("is let go where it repeats a mark", function()
    for _, row in ipairs { { "a\0\0", "a" }, { "\0a", "\0a" }, { "\0\0", "" }, { "", "" },
      { ("\0"):rep(1000000) .. "a\0", ("\0"):rep(1000000) .. "a" } } do
      assert.is_true(row[2] == ends.without(row[1], "\0"))
    end
  end)

  it("costs nothing in a table that is shown, nor in an array of texts that is read", function()
    local spaces = (" "):rep(300000) .. "x"
    assert.truthy(tostring(tide.data.table { a = { spaces, "y" } }):find("y", 1, true))
    local path = os.tmpname()
    local f = assert(io.open(path, "wb"))
    local width = 300001
    local header = ("{'descr': '|S%d', 'fortran_order': False, 'shape': (1,), }"):format(width)
    header = header .. (" "):rep(63 - (10 + #header) % 64) .. "\n"
    f:write("\x93NUMPY\1\0", ("<I2"):pack(#header), header, ("\0"):rep(width - 1), "x")
    f:close()
    os.rename(path, path .. ".npy")
    local read = tide.load(path .. ".npy")
    os.remove(path .. ".npy")
    assert.equal(width, #read[1])
  end)
end)
