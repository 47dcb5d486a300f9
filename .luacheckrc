std = "lua54"
codes = true
max_line_length = 130
max_string_line_length = false
exclude_files = { "build", "dist", "spec/ref" }
files["spec"].std = "lua54+busted"
files[".luacheckrc"].ignore = { "11" }
-- Tables of data: one case or one array to a line.
files["spec/support/op_cases"].max_line_length = false
files["spec/ref"].max_line_length = false
-- Templates of file formats keep their lines.
files["lua/tide/plot/svg.lua"].max_line_length = false
files["lua/tide/plot/font.lua"].max_line_length = false
files["spec/bench/peers.lua"].max_line_length = false
