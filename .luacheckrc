std = "lua54"
codes = true
max_line_length = 130
exclude_files = { "build", "dist", "spec/ref" }
files["spec"].std = "lua54+busted"
files[".luacheckrc"].ignore = { "11" }
