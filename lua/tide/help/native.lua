--- Help of the functions that are written in C and are no ops: what `?` shows of them, as comments
--- show it of those written in Lua. Each entry is { signature, text }; examples are indented, and
--- the specs run them.
local native = {}

--- Functions of tide and tide.ops, by their name in the core.
native.functions = {
  tensor = { "tensor(data, { dtype = nil, device = nil, requires_grad = false })", [[
A tensor of a number, a boolean, a nested table of numbers, or a tensor (which is copied). Lua
numbers become float32, booleans bool, unless dtype says otherwise. Rows of unequal length, holes
and a whole number that the dtype cannot hold are errors that name the place.

    tide.tensor({ { 1, 2 }, { 3, 4 } }).shape   --> { 2, 2 }
    tide.tensor({ 1, 2 }, { dtype = "int64" })[2]   --> 2]] },
  zeros = { "zeros(shape, { dtype = \"float32\", device = nil, requires_grad = false })", [[
A tensor of zeros.

    tide.zeros { 2, 2 }   --> { { 0, 0 }, { 0, 0 } }]] },
  ones = { "ones(shape, { dtype = \"float32\", device = nil, requires_grad = false })", [[
A tensor of ones.

    tide.ones { 3 }   --> { 1, 1, 1 }]] },
  full = { "full(shape, value, { dtype = nil, device = nil, requires_grad = false })", [[
A tensor whose elements are all `value`; its dtype is the value's (float32 for numbers).

    tide.full({ 2 }, 7)   --> { 7, 7 }]] },
  empty = { "empty(shape, { dtype = \"float32\", device = nil, requires_grad = false })", [[
A tensor whose elements are not set: they hold whatever the memory held.

    tide.ops.empty({ 2, 3 }).shape   --> { 2, 3 }]] },
  zeros_like = { "zeros_like(x, { dtype = nil })", [[
Zeros of the shape of x, and of its dtype unless another is given.

    tide.ops.zeros_like(tide.ones { 2 })   --> { 0, 0 }]] },
  ones_like = { "ones_like(x, { dtype = nil })", [[
Ones of the shape of x, and of its dtype unless another is given.

    tide.ops.ones_like(tide.zeros { 2 })   --> { 1, 1 }]] },
  full_like = { "full_like(x, value, { dtype = nil })", [[
A tensor of the shape of x whose elements are all `value`.

    tide.ops.full_like(tide.zeros { 2 }, 3)   --> { 3, 3 }]] },
  empty_like = { "empty_like(x, { dtype = nil })", [[
A tensor of the shape of x whose elements are not set.

    tide.ops.empty_like(tide.ones { 2, 3 }).shape   --> { 2, 3 }]] },
  is_tensor = { "is_tensor(v)", [[
Whether a value is a tensor (symbolic tensors are not).

    tide.is_tensor(tide.ones { 1 })   --> true
    tide.is_tensor(1)   --> false]] },
  no_grad = { "no_grad(f, ...)", [[
Calls f(...) without recording operations for gradients, and returns what f returns. Results inside
do not require gradients, so weights may be changed in place there. PyTorch's torch.no_grad.

    tide.no_grad(function()
      return (tide.ones({ 1 }, { requires_grad = true }) * 2).requires_grad end)   --> false]] },
  enable_grad = { "enable_grad(f, ...)", [[
Calls f(...) and records operations for gradients there, also inside no_grad. PyTorch's
torch.enable_grad.

    tide.enable_grad(function() return 1 end)   --> 1]] },
  memory = { "memory()", [[
What tensors take, as a table: live_bytes, peak_bytes, cached_bytes (idle blocks kept for reuse),
kept_bytes (weights in a library's layout), live_tensors, live_storages, live_nodes (recorded
operations), limit_bytes (0: none), system_allocs, cache_hits.

    tide.memory().live_bytes >= 0   --> true]] },
  memory_limit = { "memory_limit(bytes)", [[
Sets how many bytes tensors, work space of ops, kept weights and idle blocks may take together; a
tensor beyond it is an error, "not enough memory", not the end of the process; what nobody holds any
more is collected before. 0 lifts the limit.

    tide.memory_limit(2^40)
    tide.memory().limit_bytes == 2^40   --> true
    tide.memory_limit(0)]] },
  get_threads = { "get_threads()", [[
How many threads compute; the cores of the machine unless set_threads or TIDE_THREADS says
otherwise.

    tide.get_threads() >= 1   --> true]] },
}

--- Methods of tensors that are no ops.
native.methods = {
  backward = { "x:backward(gradient, { retain_graph = false, create_graph = false })", [[
Walks the recorded operations back from x and adds into `.grad` of every leaf that requires a
gradient. x has one element unless `gradient`, a tensor of its shape, is given. The graph is freed
on the way unless retain_graph; create_graph records the walk itself, for second derivatives.]] },
  item = { "x:item()", [[
The value of a tensor of one element as a Lua number or boolean.]] },
  tolist = { "x:tolist()", [[
The elements as nested Lua tables; a number or boolean for a tensor without axes.]] },
  tobytes = { "x:tobytes()", [[
The elements in order as a string of bytes, in the machine's own byte order.]] },
  detach = { "x:detach()", [[
The same values, sharing the memory of x, without its graph: a leaf that requires no gradient.]] },
  requires_grad_ = { "x:requires_grad_(flag)", [[
Says whether operations on the leaf x are recorded for gradients (true by default); returns x.]] },
  release = { "x:release()", [[
Gives the memory back now, not when the collector comes by. Using x afterwards is an error.]] },
  version = { "x:version()", [[
How often the memory of x was written since it was made, through views too.]] },
  is_contiguous = { "x:is_contiguous()", [[
Whether the elements lie in memory in order without gaps.]] },
  to = { "x:to(device)", [[
x on another device ("cpu"); x itself where it is there already.]] },
  copy_ = { "x:copy_(y)", [[
Writes the values of y, broadcast and cast, into x; returns x. Recorded for gradients where x or y
requires one.]] },
  fill_ = { "x:fill_(v)", [[
Writes the number or boolean v into every element of x; returns x. PyTorch's fill_.]] },
  zero_ = { "x:zero_()", [[
Writes 0 into every element of x; returns x. PyTorch's zero_.]] },
  assign = { "x:assign(y)", [[
Writes the values of y into x without recording: for changing weights (Keras' assign).]] },
  register_hook = { "x:register_hook(f)", [[
Calls f(gradient) whenever the gradient of x is known during a backward walk; what f returns
replaces it. Returns a remover: remover(), or remover:remove(), takes the hook away.]] },
  register_post_accumulate_grad_hook = { "x:register_post_accumulate_grad_hook(f)", [[
Calls f(x, gradient) during the walk as soon as the gradient of the leaf x is whole. Returns a
remover: remover(), or remover:remove(), takes the hook away.]] },
}

--- Fields of tensors.
native.fields = {
  shape = "sizes of the axes, as a list",
  ndim = "number of axes",
  size = "number of elements",
  dtype = "type of the elements: \"float32\", \"int64\", …",
  device = "where the elements lie: \"cpu\"",
  requires_grad = "whether operations are recorded for gradients; may be set on leaves",
  is_leaf = "whether x was made by a person, not by a recorded operation",
  name = "of a weight: \"kernel\"; nil for other tensors",
  path = "of a weight: its layer's name and its own, \"dense/kernel\"",
  nbytes = "bytes that the elements take",
  grad = "sum of the gradients of backward(), or nil; may be set to nil",
}

--- What the namespaces of tide hold.
native.namespaces = {
  activations = "Functions between layers, by Keras' names.",
  callbacks = "What fit calls at the ends of batches and epochs.",
  class = "Single inheritance with callable classes, as Tide's own are made.",
  config = "Defaults of what is made from now on; tide.config() tells what runs: version, "
    .. "instruction set, engines, threads.",
  constraints = "What weights must keep after each step.",
  audio = "Sound as tensors: reading, writing, other rates, features.",
  backend = "Keras' keras.backend, as far as it is more than functions of tensors.",
  dtype_policies = "Which dtypes weights have and layers compute in, layer by layer where need be.",
  data = "Pipelines from tensors, files and functions to batches: Dataset, as tf.data.",
  datasets = "Data sets: those of files, and small ones that are made by a seed.",
  distribute = "What stands between gradients and the step of several processes.",
  feature_column = "How the columns of a table become numbers: for layers.DenseFeatures.",
  image = "Pictures as tensors: reading, writing, resizing.",
  initializers = "How weights begin.",
  layers = "Layers, by Keras' names.",
  losses = "Losses as classes, and as functions of y_true and y_pred.",
  metrics = "What training shows beside the loss.",
  models = "Sequential, Model, Input, cloning, JSON.",
  ops = "Functions of tensors, by the names of keras.ops; most are methods of tensors too.",
  optimizers = "Rules by which gradients change weights.",
  plot = "Curves, pictures and graphs, in the terminal or in a file.",
  preprocessing = "Pictures from folders and tables, with random changes.",
  ["preprocessing.image"] = "Keras' ImageDataGenerator and its kin.",
  ["preprocessing.text"] = "Keras' Tokenizer and its kin; batches of text from folders.",
  ["preprocessing.sequence"] = "Padding, pairs of words, windows of series.",
  tokenizers = "Byte-pair encoding, WordPiece, Unigram; Hugging Face's files.",
  random = "Random tensors, and generators with a seed of their own.",
  regularizers = "Penalties on weights and outputs.",
  saving = "Models to files and back.",
  ["optimizers.schedules"] = "Learning rates that change from step to step.",
  ["datasets.mnist"] = "28 x 28 pictures of ten digits.",
  ["datasets.fashion_mnist"] = "28 x 28 pictures of ten kinds of clothes.",
  ["datasets.cifar10"] = "32 x 32 colour pictures of ten things.",
  ["datasets.cifar100"] = "32 x 32 colour pictures of 100 things in 20 groups.",
  ["datasets.imdb"] = "Film reviews as lists of word numbers, negative or positive.",
  ["datasets.reuters"] = "News as lists of word numbers, of 46 topics.",
  ["datasets.boston_housing"] = "506 districts, 13 numbers of each, prices of houses.",
  ["datasets.california_housing"] = "20,640 districts, 8 numbers of each, prices of houses.",
  ["datasets.movielens"] = "Ratings of films: tables of ratings, users and films.",
  tree = "Nested tables: their leaves, the same done to each, comparing.",
  utils = "Seeds, labels, folders of pictures, progress bars.",
  ["utils.bounding_boxes"] = "Boxes around things in pictures: formats, overlap, deltas.",
}

return native
