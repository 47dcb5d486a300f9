-- TGA, PSD and HDR of every kind beside Pillow (spec/ref/make_formats.py), and files that are none.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local ref = require "spec.ref.formats.values"

local folder = "spec/ref/formats/"
local blob = expect.read(folder .. "values.bin")

describe("pictures in TGA, PSD and HDR", function()
  for _, v in ipairs(ref) do
    it("have their pixels in " .. v[1], function()
      local h, w, c = table.unpack(v[2])
      local want = core.from_bytes("uint8", v[2], blob:sub(v[3] + 1, v[3] + h * w * c))
      local got = tide.image.decode(expect.read(folder .. v[1]))
      assert.equal(tostring(want.shape), tostring(got.shape))
      assert.same(want:tolist(), got:tolist())
    end)
  end

  it("are refused where any byte of the picture is cut off", function()
    for _, v in ipairs(ref) do
      local bytes = expect.read(folder .. v[1])
      local whole = v[1]:find "^alpha" and 18 + 4 * 7 * 13 or #bytes
      if v[1]:find "^five" then -- two of the five channels are not read
        whole = v[1]:find "packed" and 0 or whole - 2 * 7 * 13
      end
      for n = 1, whole - 1 do
        assert.is_false(pcall(tide.image.decode, bytes:sub(1, n)), ("%s cut at %d"):format(v[1], n))
      end
    end
  end)

  it("show nothing that was not decoded", function()
    local header = string.pack("<BBBI5HHHHBB", 0, 0, 2, 0, 0, 0, 40, 40, 24, 0)
    expect.raises("truncated", tide.image.decode, header)
    expect.raises("truncated", tide.image.decode, header:gsub("^..\2", "\0\0\10") .. "\255abc")
    expect.raises("palette lacks", tide.image.decode,
      string.pack("<BBBHHBHHHHBB", 0, 1, 1, 0, 2, 24, 0, 0, 2, 1, 8, 0) .. "abcdef\0\2")
  end)

  it("end at once where a row's length is nothing", function()
    expect.raises("damaged or cut", tide.image.decode,
      "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 10\n\2\2\0\10" .. ("\0"):rep(20))
    expect.raises("truncated", tide.image.decode,
      "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 10\n\2\2\0\10")
  end)

  it("say what is not read", function()
    local function psd(mode, channels, bits, packed)
      return "8BPS" .. string.pack(">Hi6HI4I4HHI4I4I4H", 1, 0, channels, 1, 1, bits, mode, 0, 0, 0,
        packed) .. "abcdefgh"
    end
    assert.equal("[1, 1, 3]", tostring(tide.image.decode(psd(3, 3, 8, 0)).shape))
    expect.raises("mode 4, 4 channels of 8 bits", tide.image.decode, psd(4, 4, 8, 0))
    expect.raises("mode 3, 2 channels", tide.image.decode, psd(3, 2, 8, 0))
    expect.raises("of 32 bits", tide.image.decode, psd(3, 3, 32, 0))
    expect.raises("compression 2", tide.image.decode, psd(3, 3, 8, 2))
    expect.raises("packed row is damaged", tide.image.decode,
      psd(1, 1, 8, 1):sub(1, -9) .. "\0\2\5a")
    expect.raises("another header", tide.image.decode, "#?RADIANCE\n\n-Y 1 +X 1\nabcd")
    expect.raises("another header", tide.image.decode,
      "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n+Y 1 +X 1\nabcd")
  end)
end)
