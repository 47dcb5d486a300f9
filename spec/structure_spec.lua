-- The rooms of lua/tide: who needs whom. Circles that must be are named here; a new one fails.
local structure = require "spec.support.structure"

local modules = structure.modules "lua"

local function joined(circles)
  local out = {}
  for i, c in ipairs(circles) do
    out[i] = table.concat(c, " ")
  end
  return out
end

describe("the require graph of lua/tide", function()
  it("has no circle of rooms but training's and the layers' with their graph", function()
    assert.same({
      "callbacks data losses metrics models optimizers plot saving training", "graph layers",
      "ops tensor",
    }, joined(structure.circles(structure.rooms(modules))))
  end)

  it("keeps the floor of names free of what stands on it", function()
    local rooms = structure.rooms(modules)
    for _, low in ipairs { "none", "errors", "list", "values", "check", "class", "origin",
      "namespace", "registry", "object", "private", "env" } do
      for _, high in ipairs { "layers", "models", "training", "losses", "metrics", "optimizers",
        "callbacks", "saving", "graph", "plot", "repl", "help", "tide" } do
        assert.is_nil(rooms[low] and rooms[low][high], low .. " needs " .. high)
      end
    end
  end)

  it("lets no module need the prompt but the programs", function()
    for name, m in pairs(modules) do
      for other in pairs(m.needs) do
        if other:find "^tide%.repl" and not name:find "^tide%.repl" then
          assert.matches("^tide%.cli", name)
        end
      end
    end
  end)
end)
