-- tide.utils.bounding_boxes beside Keras (spec/ref/bounding_boxes.lua).
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ref = dofile "spec/ref/bounding_boxes.lua"

local B = tide.utils.bounding_boxes

local function tensor(d)
  return core.ops.reshape(core.tensor(d.data, { dtype = d.dtype }), d.shape)
end

local names = { B = B }
for _, name in ipairs { "boxes", "others", "labels", "angles", "anchors" } do
  names[name] = tensor(ref[name])
end

describe("utils.bounding_boxes", function()
  for _, row in ipairs(ref) do
    it("gives Keras' values of " .. row[1], function()
      local got = assert(load("return " .. row[1], "=" .. row[1], "t", names))()
      assert.same(row[2].shape, { table.unpack(got.shape) })
      assert.equal(row[2].dtype, got.dtype)
      expect.close(core.ops.reshape(got, { -1 }):tolist(), row[2].data, 1e-5, 1e-5, row[1])
    end)
  end

  it("takes boxes without a batch, and tables of them", function()
    local box = { { 0, 0, 2, 4 } }
    expect.close(B.affine_transform(box, 90, 0, 0, 1, 0, 0, 5, 5):tolist(), { { 0, 2, 4, 4 } },
      1e-5, 1e-5)
    local out = B.convert_format({ boxes = box, labels = { 1 } }, "xyxy", "xywh")
    assert.same({ { 0, 0, 2, 4 } }, out.boxes:tolist())
    assert.same({ 1 }, out.labels)
  end)

  it("has gradients, which losses need", function()
    local x = core.tensor({ { 0.5, 0, 3, 2 } }, { dtype = "float64", requires_grad = true })
    local y = core.tensor({ { 1, 0.5, 4, 3 } }, { dtype = "float64" })
    B.compute_ciou(x, y, "xyxy"):sum():backward()
    local function at(d)
      return B.compute_ciou(core.tensor({ { 0.5 + d, 0, 3, 2 } }), y, "xyxy"):sum():item()
    end
    expect.close(x.grad:tolist()[1][1], (at(1e-2) - at(-1e-2)) / 2e-2, 1e-2, 1e-3)
  end)

  it("refuses what is no box, and formats that lack sizes", function()
    local function says(text, f, ...)
      local ok, e = pcall(f, ...)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    says("with a last axis of 4", B.convert_format, { { 1, 2, 3 } }, "xyxy", "xywh")
    says("needs the height and the width", B.convert_format, { { 1, 2, 3, 4 } }, "xyxy",
      "rel_xywh")
    says("source must be", B.convert_format, { { 1, 2, 3, 4 } }, "xyyx", "xywh")
    says("need image_shape", B.compute_iou, { { 0, 0, 1, 1 } }, { { 0, 0, 1, 1 } }, "rel_xyxy")
    says("need the height and the width", B.clip_to_image_size, { boxes = { { 0, 0, 1, 1 } } })
    says("bounding_box_format must be xyxy", B.crop, { { 0, 0, 1, 1 } }, 0, 0, 1, 1, "xywh")
    says("variance must be four numbers", B.encode_box_to_deltas, { { 0, 0, 1, 1 } },
      { { 0, 0, 1, 1 } }, "xyxy", "xyxy", { variance = { 1, 2 } })
  end)
end)
