--- Pictures as Keras handles them: load_img, save_img, img_to_array, array_to_img, smart_resize,
--- random transformations,
-- ImageDataGenerator, image_dataset_from_directory. Keras: keras.preprocessing.image and
-- keras._legacy.preprocessing.image.
--
-- A picture is a uint8 tensor (height, width, channels); where Keras has a Pillow object, Tide has
-- that.
local namespace = require "tide.namespace"

local place = {}
for module, names in pairs {
  ["tide.preprocessing.image.files"] = "load_img save_img img_to_array array_to_img smart_resize",
  ["tide.preprocessing.image.transforms"] = [[random_rotation random_shift random_shear
    random_zoom random_channel_shift random_brightness apply_affine_transform apply_channel_shift
    apply_brightness_shift]],
  ["tide.preprocessing.image.dataset"] = "image_dataset_from_directory",
  ["tide.preprocessing.image.generator"] = "ImageDataGenerator",
  ["tide.preprocessing.image.iterators"] =
    "Iterator DirectoryIterator DataFrameIterator ArrayIterator",
} do
  for name in names:gmatch "%S+" do
    place[name] = module
  end
end

return namespace.new("tide.preprocessing.image", {},
  { modules = place, aliases = { NumpyArrayIterator = "ArrayIterator" } })
