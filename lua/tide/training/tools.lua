--- Trials that leave a model as it was: find_lr, find_batch_size.
return { find_lr = require "tide.training.find_lr",
  find_batch_size = require "tide.training.find_batch_size" }
