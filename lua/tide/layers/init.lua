--- tide.layers: every layer by Keras' name, loaded with its family on first access, and the merging
--- functions.
local object = require "tide.object"
local registry = require "tide.registry"

local families = {
  ["tide.layers.core"] = "InputLayer Dense Embedding Identity Lambda Masking Rescaling",
  ["tide.layers.activation"] = [[Activation ReLU LeakyReLU PReLU ELU Softmax Softmin CReLU RReLU
    GatedLinearUnit]],
  ["tide.layers.conv"] = [[Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose
    DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D]],
  ["tide.layers.pool"] = [[MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D
    AveragePooling2D AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D AdaptiveAveragePooling1D
    AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D
    AdaptiveMaxPooling3D]],
  ["tide.layers.norm"] = [[BatchNormalization LayerNormalization GroupNormalization
    RMSNormalization UnitNormalization InstanceNormalization LocalResponseNormalization]],
  ["tide.layers.reparametrize"] = "SpectralNormalization WeightNormalization",
  ["tide.layers.dense"] = "TernaryDense Maxout",
  ["tide.layers.bag"] = "EmbeddingBag",
  ["tide.layers.regularize"] = [[Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D
    AlphaDropout GaussianDropout GaussianNoise ActivityRegularization StochasticDepth
    GradientReversal]],
  ["tide.layers.reshape"] = [[Reshape Flatten Permute RepeatVector ZeroPadding1D ZeroPadding2D
    ZeroPadding3D ReflectionPadding1D ReflectionPadding2D ReflectionPadding3D ReplicationPadding1D
    ReplicationPadding2D ReplicationPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D
    UpSampling2D UpSampling3D]],
  ["tide.layers.rearrange"] = "PixelShuffle PixelUnshuffle Unfold Fold",
  ["tide.layers.preprocess"] = "Normalization",
  ["tide.layers.category"] = "CategoryEncoding Discretization Hashing HashedCrossing",
  ["tide.layers.lookup"] = "IntegerLookup StringLookup",
  ["tide.layers.text"] = "TextVectorization",
  ["tide.layers.image.crop"] = "Resizing CenterCrop RandomCrop",
  ["tide.layers.image.flip"] = "RandomFlip",
  ["tide.layers.image.pipeline"] = "Pipeline MaxNumBoundingBoxes",
  ["tide.layers.image.warp"] = [[RandomRotation RandomTranslation RandomZoom RandomShear
    RandomPerspective RandomElasticTransform]],
  ["tide.layers.image.colour"] = [[RandomBrightness RandomContrast RandomHue RandomSaturation
    RandomColorDegeneration RandomSharpness RandomGrayscale RandomInvert RandomPosterization
    Solarization AutoContrast Equalization ContrastLimitedAdaptiveHistogramEqualization
    RandomGaussianBlur]],
  ["tide.layers.image.mix"] = "RandomErasing CutMix MixUp",
  ["tide.layers.image.augment"] = "RandomColorJitter RandAugment AugMix",
  ["tide.layers.audio"] = "STFTSpectrogram MelSpectrogram MFCC",
  ["tide.layers.features"] = "DenseFeatures SequenceFeatures",
  ["tide.layers.recurrent"] = "RNN SimpleRNN LSTM GRU",
  ["tide.layers.cells"] = "SimpleRNNCell LSTMCell GRUCell StackedRNNCells",
  ["tide.layers.conv_recurrent"] = "ConvLSTM1D ConvLSTM2D ConvLSTM3D",
  ["tide.layers.einsum"] = "EinsumDense",
  ["tide.layers.attention"] = [[MultiHeadAttention GroupQueryAttention Attention
    AdditiveAttention]],
  ["tide.layers.embedding"] = [[ReversibleEmbedding PositionEmbedding SinePositionEncoding
    RotaryEmbedding TokenAndPositionEmbedding ClassToken]],
  ["tide.layers.transformer"] = "TransformerEncoder TransformerDecoder",
  ["tide.layers.wrap"] = "Wrapper TimeDistributed Bidirectional",
  ["tide.layers.merge"] = [[Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    CosineSimilarity]],
}

local modules = {}
for module, names in pairs(families) do
  for name in names:gmatch "%S+" do
    modules[name] = module
  end
end

local aliases = { GroupedQueryAttention = "GroupQueryAttention" } -- as Keras' .h5 files call it
for _, d in ipairs { "1D", "2D", "3D" } do
  aliases["Convolution" .. d] = "Conv" .. d
  aliases["Convolution" .. d .. "Transpose"] = "Conv" .. d .. "Transpose"
  aliases["MaxPool" .. d] = "MaxPooling" .. d
  aliases["AvgPool" .. d] = "AveragePooling" .. d
  aliases["GlobalMaxPool" .. d] = "GlobalMaxPooling" .. d
  aliases["GlobalAvgPool" .. d] = "GlobalAveragePooling" .. d
  if d ~= "3D" then
    aliases["SeparableConvolution" .. d] = "SeparableConv" .. d
  end
end

--- A layer from its name, configuration or itself.
local function get(v)
  return registry.resolve("layer", v, "layer")
end

local layers = object.namespace("tide.layers", "layer", { modules = modules, aliases = aliases,
  get = get, extra = { Layer = require "tide.layers.base" }, hidden = {
    -- models are layers too, and in files they stand among them
    FeatureSpace = "tide.models.feature_space", Input = "tide.models", Sequential = "tide.models",
    Functional = "tide.models",
  } })

for _, name in ipairs { "add", "subtract", "multiply", "average", "maximum", "minimum",
  "concatenate", "dot" } do
  local class_name = name:sub(1, 1):upper() .. name:sub(2)
  --- The merging layer of that name applied at once: `layers.add({ a, b })`, `layers.dot({ a, b },
  --- { axes = 2 })`.
  rawset(layers, name, function(inputs, options)
    return layers[class_name](options or {})(inputs)
  end)
end

return layers
