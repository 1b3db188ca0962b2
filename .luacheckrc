-- luacheck: LuaJIT's globals and no others; specs see busted's as well.
std = "luajit"
max_line_length = 100
unused_args = false
exclude_files = { "build*/**", "deps/**" }
files["spec/**/*.lua"] = { std = "luajit+busted" }
files[".luacheckrc"] = { std = "+luacheckrc" }
