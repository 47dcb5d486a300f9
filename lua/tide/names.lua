--- Names that were nearly right: what was probably meant, also where another library calls it
--- otherwise.
local names = {}

--- Edit distance (insert, delete, replace, swap of neighbours).
function names.distance(a, b)
  local la, lb = #a, #b
  local before, prev = nil, {}
  for j = 0, lb do
    prev[j] = j
  end
  for i = 1, la do
    local cur = { [0] = i }
    for j = 1, lb do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local d = math.min(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + cost)
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, before[j - 2] + 1)
      end
      cur[j] = d
    end
    before, prev = prev, cur
  end
  return prev[lb]
end

-- What other libraries call the same things; the first that is a candidate is meant.
local elsewhere = {}
for line in
  ([[linear=Dense lstm=LSTM conv1d=Conv1D conv2d=Conv2D conv3d=Conv3D
    batchnorm1d=BatchNormalization batchnorm2d=BatchNormalization layernorm=LayerNormalization
    groupnorm=GroupNormalization maxpool2d=MaxPooling2D avgpool2d=AveragePooling2D
    convtranspose2d=Conv2DTranspose crossentropyloss=SparseCategoricalCrossentropy
    nllloss=SparseCategoricalCrossentropy mseloss=MeanSquaredError l1loss=MeanAbsoluteError
    bceloss=BinaryCrossentropy bcewithlogitsloss=BinaryCrossentropy lr=learning_rate eps=epsilon
    decay=weight_decay p=rate in_features=units out_features=units out_channels=filters
    hidden_size=units num_embeddings=input_dim embedding_dim=output_dim nb_epoch=epochs
    n_epochs=epochs num_epochs=epochs nn=layers optim=optimizers functional=ops f=ops
    steplr=StepDecay multisteplr=MultiStepDecay exponentiallr=ExponentialDecay
    linearlr=LinearRamp constantlr=ConstantStart onecyclelr=OneCycle cycliclr=Cyclic
    sequentiallr=Sequential chainedscheduler=Chained cosineannealinglr=CosineDecay
    cosineannealingwarmrestarts=CosineDecayRestarts polynomiallr=PolynomialDecay
    randn=random rand=random view=reshape mm=matmul bmm=matmul permute=transpose
    unsqueeze=expand_dims numpy=tolist float=cast double=cast half=cast long=cast int=cast
    to=cast type=cast astype=cast cat=concatenate clone=copy index_select=take masked_fill=where
    sub=subtract mul=multiply div=divide pow=power neg=negative clamp=clip eq=equal ne=not_equal
    lt=less gt=greater le=less_equal ge=greater_equal t=transpose mt=transpose numel=size
    nelement=size dim=ndim flatten=ravel expand=broadcast_to expand_as=broadcast_to
    repeat_interleave=repeat unbind=unstack chunk=split gather=take_along_axis data=detach
    contiguous=copy set_=assign sub_=subtract_ mul_=multiply_
    div_=divide_ pow_=power_ neg_=negative_ clamp_=clip_ addmm=matmul
    kthvalue=argpartition map=vectorized_map type_as=cast parameters=trainable_weights
    state_dict=get_weights load_state_dict=set_weights]]):gmatch "%S+"
do
  local theirs, ours = line:match "^(.-)=(.*)$"
  elsewhere[theirs] = ours
end

--- The candidate that `name` was probably meant to be, or nil.
--- @param candidates table a sequence of names
function names.suggest(name, candidates)
  if type(name) ~= "string" or #name > 64 then
    return nil
  end
  local best, score, spelt -- spelt: the distance that heeds capitals
  local low = name:lower()
  local plain = low:gsub("_", "")
  local same = elsewhere[low]
  for _, c in ipairs(candidates) do
    if c == same then
      return c
    end
    local cl = c:lower()
    local d = names.distance(low, cl)
    if cl:gsub("_", "") == plain then
      d = 0
    end
    if not score or d <= score then
      local exact = names.distance(name, c)
      if not score or d < score or exact < spelt or exact == spelt and c < best then
        best, score, spelt = c, d, exact
      end
    end
  end
  if score and score <= math.max(1, #name // 3) then
    return best
  end
end

--- `; did you mean 'x'?` or the empty string.
function names.did_you_mean(name, candidates)
  local s = names.suggest(name, candidates)
  return s and ("; did you mean '%s'?"):format(s) or ""
end

return names
