--- Dataset with all its sources and transformations.
require "tide.data.methods"
require "tide.data.sources"
require "tide.data.saved"
return require "tide.data.dataset"
