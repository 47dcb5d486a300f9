-- What Keras has and Tide has not, or has otherwise, each with its reason: reason -> names, or
-- name.option, where `*` stands for any name. Once an entry is there and equal, api_spec.lua asks
-- for it to be taken out.
return {
  ["not built yet: preprocessing layers"] = [[
    visualization.*]],
  ["steps of Keras' own code, which Tide takes otherwise"] = [[
    layers.RandomShear:get_shifted_bbox layers.RandomShear:get_transformed_x_y
    layers.RandomTranslation:get_shifted_bbox layers.RandomTranslation:get_transformed_x_y
    layers.RandomZoom:get_clipped_bbox layers.RandomZoom:get_transformed_x_y]],
  ["not built yet: data sets and what reads folders, texts and sounds into them"] = [[
    preprocessing.* utils.PyDataset* utils.Sequence
    utils.get_file]],
  ["there are no sparse tensors: padded_batch, or ragged_batch, which gives lengths too"] =
    "data.Dataset:sparse_batch",
  ["not built yet: architectures with trained weights"] = "applications.*",
  ["not built yet: smaller models by quantization and distillation"] = [[
    quantizers.* Quantizer distillation.* dtype_policies.AWQDTypePolicy
    dtype_policies.GPTQDTypePolicy dtype_policies.Int4DTypePolicy
    dtype_policies.QuantizedDTypePolicy dtype_policies.QuantizedFloat8DTypePolicy
    dtype_policies.DTypePolicy:quantization_mode layers.Layer:quantiz*
    layers.*.quantization_config layers.EinsumDense.gptq_unpacked_column_size
    models.Model:get_quantization_layer_structure]],
  ["not built yet: export to other programs"] = "export.* models.Model:export",
  ["not built yet: several machines and devices"] = [[
    distribution.* models.Model:distribute_*]],
  ["an option of the base class, which Keras refuses or does not look at here"] = [[
    layers.AdditiveAttention.score_mode layers.*.pool_mode optimizers.LossScaleOptimizer.*
    callbacks.ReduceLROnPlateau.baseline]],
  ["one process trains; several are tide.distribute's"] = [[
    callbacks.OrbaxCheckpoint:is_multihost_enabled callbacks.OrbaxCheckpoint:is_primary_host]],
  ["runs code of another library"] = [[
    layers.FlaxLayer layers.JaxLayer layers.TFSMLayer layers.TorchModuleWrapper*
    wrappers.*]],
  ["policies stand in their namespace: tide.dtype_policies.DTypePolicy"] = [[
    DTypePolicy FloatDTypePolicy mixed_precision.*]],
  ["the same value, written out"] = [[
    ops.arange.step ops.layer_normalization.epsilon ops.normalize.epsilon
    ops.rms_normalization.epsilon ops.scatter_update.reduction ops.convert_to_tensor.sparse
    ops.convert_to_tensor.ragged layers.Input.sparse layers.Input.ragged
    activations.relu.max_value models.Model:save.zipped]],
  ["has a default here where Keras asks for a value"] = [[
    ops.batch_normalization.axis losses.categorical_generalized_cross_entropy.q
    metrics.Metric:add_variable.shape]],
  ["Keras declares a default and fails without a value"] = [[
    ops.multi_hot.num_classes layers.CategoryEncoding.num_tokens]],
  ["where with a condition alone is nonzero"] = "ops.where.x1 ops.where.x2",
  ["sparse and ragged tensors, and tensors in place of inputs, are TensorFlow's"] = [[
    layers.Input.tensor layers.InputLayer.* layers.InputSpec* InputSpec KerasTensor*]],
  ["classes of one's own are known to files by extend, functions by register"] = [[
    *.deserialize.custom_objects optimizers.schedules.deserialize.custom_objects
    utils.CustomObjectScope utils.custom_object_scope utils.*_keras_object
    utils.get_custom_objects utils.get_registered_* utils.register_keras_serializable
    saving.CustomObjectScope saving.custom_object_scope saving.*_keras_object
    saving.get_custom_objects saving.get_registered_* saving.register_keras_serializable
    models.model_from_json.custom_objects]],
  ["float32, channels_last and 1e-7 hold everywhere; a layer or call says otherwise"] = [[
    config.epsilon config.floatx config.image_data_format config.set_epsilon config.set_floatx
    config.set_image_data_format backend.epsilon backend.floatx backend.image_data_format
    backend.set_epsilon backend.set_floatx backend.set_image_data_format]],
  ["there is one backend, which computes at once"] = [[
    config.backend config.set_backend config.is_nnx_enabled config.*_flash_attention*
    backend.backend backend.get_uid backend.is_* backend.result_type
    backend.standardize_dtype utils.standardize_dtype utils.is_keras_tensor
    models.Model:jit_compile models.Model:run_eagerly models.Model:make_*
    Function* Operation* SymbolicScope name_scope Variable*
    layers.Layer:symbolic_call layers.Layer:compute_output_spec layers.Layer:input_spec
    layers.Layer:input_dtype utils.get_source_inputs]],
  ["functions without state are JAX's way: value_and_grad takes any function"] = [[
    StatelessScope* layers.Layer:stateless_call layers.Layer:metrics_variables
    metrics.Metric:stateless_* optimizers.Optimizer:stateless_apply
    models.Model:stateless_compute_loss models.Model:get_state_tree
    models.Model:set_state_tree]],
  ["output and tracebacks are ruled by verbose and TIDE_TRACEBACK, lengths of runs by fit"] = [[
    config.*_interactive_logging config.is_interactive_logging_enabled
    utils.*_interactive_logging utils.is_interactive_logging_enabled config.*_traceback_filtering*
    config.max_epochs config.max_steps_per_epoch config.set_max_* utils.Progbar*]],
  ["loading a model never runs code"] = "config.enable_unsafe_deserialization",
  ["bases stand in their namespaces: tide.losses.Loss"] = [[
    Initializer Loss Metric Optimizer Regularizer]],
  ["the channel counts from 1"] = "ops.ctc_loss.mask_index ops.ctc_decode.mask_index",
  ["the model comes first, by position"] = "saving.load_weights.model saving.save_weights.model",
  ["a table of Lua is one"] = "utils.Config*",
  ["a string, tide.version"] = "version",
  ["which values are numbers, of IntegerLookup alone"] = "layers.StringLookup.oov_method",
  ["Keras' own steps, no part of its interface"] = [[
    layers.IntegerLookup:load_assets layers.IntegerLookup:save_assets
    layers.StringLookup:load_assets layers.StringLookup:save_assets
    layers.Layer:rematerialized_call layers.TextVectorization:load_assets
    layers.TextVectorization:save_assets
    layers.Discretization:output_dtype
    layers.*:convolution_op layers.*:variable_serialization_spec layers.RNN:inner_loop
    layers.SpectralNormalization:normalized_weights layers.Layer:build_from_config
    layers.Layer:get_build_config layers.Layer:*_own_variables optimizers.Optimizer:*_own_variables
    layers.Layer:add_weight.overwrite_with_gradient layers.Layer:add_metric
    layers.Layer:add_variable metrics.Metric:add_variable.aggregation
    metrics.MeanMetricWrapper.dtype metrics.AUC:interpolate_pr_auc initializers.Initializer:clone
    optimizers.LossScaleOptimizer:check_finite optimizers.Muon:* optimizers.Optimizer:add_*
    optimizers.Optimizer:assign* optimizers.Optimizer:update_step
    callbacks.CallbackList.* callbacks.EarlyStopping:get_monitor_value
    callbacks.ReduceLROnPlateau:in_cooldown
    callbacks.TensorBoard:summary models.Model:compiled_loss models.Model:compiled_metrics
    models.Model:loss]],
  ["a callback has the hooks that it defines"] = "callbacks.Callback:*",
  ["options by name in a table, which are not declared"] = [[
    layers.TextVectorization:adapt.steps]],
}
