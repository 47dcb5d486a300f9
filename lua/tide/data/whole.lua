--- Dataset with all its sources and transformations.
require "tide.data.methods"
require "tide.data.sources"
return require "tide.data.dataset"
