-- What JSON is read and what is refused, case by case, as Python's json module says (with its
-- parse_constant refused); integers beyond 64 bits, numbers beyond doubles, NUL and duplicate keys
-- are refused beside it.
local expect = require "spec.support.expect"
local core = require "tide.core"

describe("JSON", function()
  it("is accepted where it is JSON", function()
    for text, want in pairs {
      ["1"] = 1, ["-0"] = 0, ["0.5"] = 0.5, ["1e2"] = 100.0, ["1E+2"] = 100.0,
      ["-1.25e-2"] = -0.0125,
      ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger,
      ["1e-400"] = 0.0, ["0e5"] = 0.0, ["4.9406564584124654e-324"] = 4.9406564584124654e-324,
      ["1.7976931348623157e308"] = 1.7976931348623157e308,
      ["0.1000000000000000055511151231257827021181583404541015625"] = 0.1,
      ["true"] = true, ["false"] = false, [" \t\r\n1 \n"] = 1, ['""'] = "",
      ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = "\"\\/\b\f\n\r\t", ['"\\u00e9\\u20AC"'] = "é€",
      ['"\\ud834\\udd1e"'] = "\u{1d11e}", ['"\\uDBFF\\uDFFF"'] = "\u{10ffff}",
      ['"\\uffff"'] = "\u{ffff}",
      ['"\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"'] =
        "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
    } do
      local got = core.json_decode(text)
      assert.equal(want, got, text)
      assert.equal(math.type(want), math.type(got), text)
    end
    assert.same({}, core.json_decode "[]")
    assert.same({}, core.json_decode "{ }")
    assert.same({ { {} }, 1, { a = { b = { 2 } } } }, core.json_decode '[[[]],1,{"a":{"b":[2]}}]')
    assert.same({ [""] = 1, ["a\nb"] = "null" }, core.json_decode('{"":1,"a\\nb":null}', "null"))
    assert.same({ 1, false, 3 }, core.json_decode "[1,null,3]")
    assert.is_table(core.json_decode(("["):rep(64) .. ("]"):rep(64)))
  end)

  it("is refused where it is none", function()
    for _, text in ipairs {
      "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1 2]",
      "[1]]", "[1]x", "1 2", "{1:2}", "{a:1}", '{"a"}', '{"a":}', '{"a":1,}', '{"a" 1}',
      '{"a":1 "b":2}',
      '{,"a":1}', '{"a":1,"a":1}', '{"a":1,"b":2,"\\u0061":3}', "[}", "{]", '{"a":1]',
      "tru", "True",
      "nul", "nulll", "truefalse", "NaN", "[NaN]", "Infinity", "-Infinity", "inf", "-",
      "+1", "--1", "01",
      "-01", "00", ".5", "5.", "1.e1", "1e", "1e+", "1e1.5", "0x10", "1_000", "1d", "1 e1",
      "1e999",
      "-1e999", "9223372036854775808", "-9223372036854775809", "99999999999999999999", '"', '"a',
      '"\\', '"\\"', '"\\x41"', '"\\u"', '"\\u12"', '"\\u12g4"', '"\\u0000"', '"\\ud800"',
      '"\\udc00"',
      '"\\ud800\\n"', '"\\ud800\\ud800"', '"\\ud800\\u0041"', '"\n"', '"\t"', '"\0"',
      "'a'", '"a" "b"',
      "\0", "1\0", "[1]\0", "\xef\xbb\xbf1", "\xff", '"\x80"', '"\xc0\x80"', '"\xc1\xbf"',
      '"\xe0\x80\x80"', '"\xed\xa0\x80"', '"\xf0\x80\x80\x80"', '"\xf4\x90\x80\x80"',
      '"\xf5\x80\x80\x80"',
      '"\xe2\x82"', '"\xe2"', "/**/1", "[1]//", "\u{a0}1", "\f1" } do
      local ok, e = pcall(core.json_decode, text, nil, "t")
      assert.is_false(ok, text)
      expect.has(tostring(e), "t: not valid JSON at byte ")
    end
    expect.raises("64 levels", core.json_decode, ("["):rep(65))
    expect.raises("64 levels", core.json_decode, ('{"a":'):rep(1000000))
  end)

  it("says where it ends to be JSON", function()
    expect.raises("j: not valid JSON at byte 8: a duplicate key", core.json_decode,
      '{"a":1,"a":2}', nil, "j")
    expect.raises("at byte 3: it ends too early", core.json_decode, "[1,")
    expect.raises("at byte 2: a number that begins with 0", core.json_decode, "[ 01]")
    expect.raises("at byte 0: an integer of more than 64 bits", core.json_decode,
      "9223372036854775808")
    expect.raises("at byte 4: no value", core.json_decode, '{"":}')
  end)

  it("takes no more memory than it is allowed, whatever it holds", function()
    for _, part in ipairs { "[],", '{"a":{}},', '"",', '"a\\n",', "0," } do
      local text = "[" .. part:rep((1 << 24) // #part - 1) .. "0]"
      collectgarbage()
      local before = collectgarbage "count"
      local ok, e = pcall(core.json_decode, text, nil, "bomb", 0)
      assert.is_true(collectgarbage "count" - before < 50 * 1024, part)
      if part == "[]," then
        assert.is_false(ok)
        expect.has(tostring(e), "bomb: the values of the JSON take more than the 32 MB allowed")
      end
      collectgarbage()
    end
    expect.raises("more than the 16777216 allowed", core.json_decode, (" "):rep((1 << 24) + 1))
  end)
end)
