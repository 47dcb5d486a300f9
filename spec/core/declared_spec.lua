-- What an op's entry declares holds for every caller: the defaults of its attributes.

describe("A caller in C", function()
  -- spec/support/caller.c
  it("starts from the declared defaults", function()
    local build = os.getenv "TIDE_BUILD" or "build"
    local flags = { build = "", ["build/asan"] = "-fsanitize=address,undefined" }
    if not (flags[build] and os.execute "command -v ${CC:-cc} >/dev/null") then
      return pending "needs a compiler, and the archive of this build"
    end
    local made = os.tmpname()
    local cc = ("${CC:-cc} -std=gnu11 -O1 -fopenmp %s -Isrc -Ikernels spec/support/caller.c"
      .. " %s/tide-core.a -o %s -lm -ldl -lpthread"):format(flags[build], build, made)
    local with_vectors = ("unset LD_PRELOAD; %s -lmvec 2>/dev/null || %s"):format(cc, cc)
    assert(os.execute(with_vectors)) -- machines without a vector library link without
    local pipe = assert(io.popen(("env -u LD_PRELOAD %s 2>&1"):format(made)))
    local text = pipe:read "a"
    pipe:close()
    os.remove(made)
    assert.equal("ok\n", text)
  end)
end)
