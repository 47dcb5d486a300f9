-- What Keras has and Tide has not, or has otherwise, each with its reason: reason -> names, or
-- name.option, where `*` stands for any name. Once an entry is there and equal, api_spec.lua asks
-- for it to be taken out.
return {
  ["not built yet: preprocessing layers"] = [[
    layers.AugMix layers.AutoContrast layers.CategoryEncoding layers.CenterCrop
    layers.ContrastLimitedAdaptiveHistogramEqualization layers.CutMix layers.Discretization*
    layers.Equalization layers.HashedCrossing layers.Hashing layers.IntegerLookup*
    layers.MaxNumBoundingBoxes layers.MelSpectrogram* layers.MixUp layers.Pipeline
    layers.RandAugment layers.Random* layers.Resizing layers.STFTSpectrogram layers.Solarization
    layers.StringLookup* layers.TextVectorization* layers.Normalization:finalize_state
    utils.FeatureSpace* utils.bounding_boxes.* visualization.* ops.image.*]],
  ["not built yet: data sets and what reads folders, texts and sounds into them"] = [[
    preprocessing.* preprocessing.sequence.pad_sequences utils.PyDataset* utils.Sequence
    utils.audio_dataset_from_directory utils.text_dataset_from_directory
    utils.timeseries_dataset_from_array utils.image_dataset_from_directory.format
    utils.pad_sequences utils.split_dataset utils.get_file utils.pack_x_y_sample_weight
    utils.unpack_x_y_sample_weight]],
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
  ["not built yet: layers"] = "layers.AdditiveAttention.score_mode",
  ["not built yet: training"] = [[
    models.Model:find_batch_size models.Model:find_lr models.Model:rename
    models.clone_model.* models.Sequential:add.rebuild utils.clear_session remat RematScope
    layers.Layer:rematerialized_call callbacks.TensorBoard.* callbacks.ReduceLROnPlateau.baseline
    callbacks.OrbaxCheckpoint:* callbacks.OrbaxCheckpoint.save_on_background
    optimizers.LossScaleOptimizer.* dtype_policies.DTypePolicyMap]],
  ["not built yet: files"] = "saving.KerasFileEditor*",
  ["runs code of another library"] = [[
    layers.FlaxLayer layers.JaxLayer layers.TFSMLayer layers.TorchModuleWrapper*
    wrappers.*]],
  ["not built yet"] = [[
    layers.*.pool_mode layers.InputSpec* layers.Input.sparse layers.Input.ragged
    layers.Input.tensor layers.InputLayer.* layers.Layer:add_metric layers.Layer:add_variable
    layers.Layer:add_weight.overwrite_with_gradient
    layers.Layer:build_from_config layers.Layer:compute_output_spec layers.Layer:get_build_config
    layers.Layer:input_dtype layers.Layer:input_spec layers.Layer:load_own_variables
    layers.Layer:metrics_variables layers.Layer:save_own_variables
    layers.Layer:stateless_call layers.Layer:symbolic_call
    layers.*:convolution_op layers.*:variable_serialization_spec
    layers.SpectralNormalization:normalized_weights
    layers.MultiHeadAttention:key_dense layers.MultiHeadAttention:output_dense
    layers.MultiHeadAttention:query_dense layers.MultiHeadAttention:value_dense
    layers.RNN:inner_loop layers.StackedRNNCells:output_size layers.StackedRNNCells:state_size
    *.deserialize.custom_objects optimizers.schedules.deserialize.custom_objects
    activations.relu.max_value initializers.Initializer:clone
    losses.categorical_generalized_cross_entropy.q losses.circle.*
    metrics.MeanMetricWrapper.dtype metrics.Metric:add_variable.*
    metrics.*.axis metrics.*.k metrics.binary_accuracy.threshold metrics.AUC:interpolate_pr_auc
    metrics.Metric:stateless_*
    optimizers.LossScaleOptimizer:check_finite optimizers.Muon:* optimizers.Optimizer:*
    callbacks.Callback:* callbacks.CallbackList.* callbacks.EarlyStopping:get_monitor_value
    callbacks.ReduceLROnPlateau:in_cooldown callbacks.TensorBoard:summary
    models.Model:compiled_loss models.Model:compiled_metrics models.Model:get_state_tree
    models.Model:jit_compile models.Model:loss models.Model:make_* models.Model:run_eagerly
    models.Model:set_state_tree models.Model:stateless_compute_loss models.Model:summary.*
    models.model_from_json.custom_objects
    ops.*.inputs ops.arange.step ops.batch_normalization.axis ops.bitwise_*.*
    ops.convert_to_tensor.* ops.ctc_decode.mask_index ops.ctc_loss.mask_index
    ops.einsum.subscripts ops.*.epsilon
    ops.left_shift.* ops.right_shift.* ops.multi_hot.num_classes ops.scatter_update.reduction
    ops.stop_gradient.variable ops.vectorized_map.fn ops.where.*
    random.SeedGenerator.* random.SeedGenerator:from_config random.dropout.inputs
    utils.Config* utils.CustomObjectScope utils.Progbar* utils.custom_object_scope
    utils.*_keras_object utils.*_interactive_logging utils.is_interactive_logging_enabled
    utils.get_custom_objects utils.get_registered_* utils.get_source_inputs
    utils.is_keras_tensor utils.model_to_dot utils.plot_model.*
    utils.register_keras_serializable utils.standardize_dtype
    saving.*_keras_object saving.CustomObjectScope saving.custom_object_scope
    saving.get_custom_objects saving.get_registered_* saving.register_keras_serializable
    saving.load_weights.model saving.save_weights.model config.* dtype_policies.*
    dtype_policies.DTypePolicy:* backend.* mixed_precision.* tree.*
    DTypePolicy FloatDTypePolicy Function* Initializer InputSpec KerasTensor* Loss Metric
    Operation* Optimizer Regularizer StatelessScope* SymbolicScope Variable* name_scope version]],
}
