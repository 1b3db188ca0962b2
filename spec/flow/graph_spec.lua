-- The graph of a flow as DOT, Mermaid and a picture.
local files = require "spec.support.files"
local process = require "spec.support.process"

local RECIPE = [[
local ml = require "mlua"
local param = ml.param
local Source = ml.task("Source", { params = { name = param.string { "clicks" } },
  run = function(self) return self.name end })
local Left = ml.task("Left", { requires = Source, run = function(_, s) return s .. " left" end })
local Right = ml.task("Right", { requires = Source, run = function(_, s) return s .. " right" end })
return ml.flow(ml.task("Join", { requires = { a = Left, b = Right },
  run = function(_, input) return input.a .. input.b end }))
]]

describe("the graph of a flow", function()
  local folder

  before_each(function()
    folder = files.folder()
    files.write(folder .. "/r.lua", RECIPE)
  end)
  after_each(function() files.remove(folder) end)

  local function run(arguments, env)
    env = env or {}
    env.MLUA_STORE = folder .. "/s"
    return process.mlua({ "r.lua", unpack(arguments) }, { cwd = folder, env = env })
  end

  it("has each node of a diamond once, with its status, for graphviz", function()
    run { "--until", "Source" }
    local got = run { "--dot" }
    assert.equal("", got.err)
    assert.equal([[
digraph flow {
  rankdir = LR;
  node [shape = box, style = "rounded,filled", fontname = "sans-serif"];
  n1 [label = "Source\nname=clicks\nready", fillcolor = "#d5e8d4"];
  n2 [label = "Left\nrun", fillcolor = "#ffe6cc"];
  n3 [label = "Right\nrun", fillcolor = "#ffe6cc"];
  n4 [label = "Join\nrun?", fillcolor = "#fff2cc"];
  n1 -> n2;
  n1 -> n3;
  n2 -> n4;
  n3 -> n4;
}
]], got.out)
  end)

  it("is the same for Mermaid", function()
    run { "--until", "Source" }
    local got = run { "--mermaid" }
    assert.equal("", got.err)
    assert.equal([[
flowchart LR
  n1["Source<br/>name=clicks<br/>ready"]:::ready
  n2["Left<br/>run"]:::run
  n3["Right<br/>run"]:::run
  n4["Join<br/>run?"]:::after
  n1 --> n2
  n1 --> n3
  n2 --> n4
  n3 --> n4
  classDef ready fill:#d5e8d4
  classDef run fill:#ffe6cc
  classDef after fill:#fff2cc
  classDef needed fill:#ffe6cc
  classDef memory fill:#f5f5f5
  classDef absent fill:#f8cecc
]], got.out)
  end)

  it("runs nothing", function()
    run { "--dot" }
    assert.truthy(run({ "--preview" }).out:find("4 to run", 1, true))
  end)

  it("escapes what values hold", function()
    local name = [[a "b" \c <i>&#;]]
    local got = run { "--name", name, "--dot" }
    local label = [[label = "Source\nname=a \"b\" \\c <i>&#;\nrun"]]
    assert.truthy(got.out:find(label, 1, true), got.out)
    got = run { "--name", name, "--mermaid" }
    label = [[n1["Source<br/>name=a #quot;b#quot; \c #lt;i#gt;#amp;#35;;<br/>run"]]
    assert.truthy(got.out:find(label .. "]", 1, true), got.out)
  end)

  -- A folder for PATH with what runs the program, and `dot` where it is given as a script.
  local function path_with(dot)
    assert(require "lfs".mkdir(folder .. "/bin"))
    os.execute(('ln -s "$(command -v timeout)" "$(command -v cat)" %s/bin/'):format(folder))
    if dot then
      files.write(folder .. "/bin/dot", dot)
      os.execute("chmod +x " .. folder .. "/bin/dot")
    end
    return { PATH = folder .. "/bin" }
  end

  it("goes to dot, which writes the picture", function()
    local got = run({ "--graph", "x.svg" }, path_with '#!/bin/sh\necho "$1 $2"; cat >"$3"\n')
    assert.equal("", got.err)
    assert.equal(0, got.status)
    assert.equal(run({ "--dot" }).out, files.read(folder .. "/x.svg") .. "\n")
  end)

  it("says what is missing where there is no dot, or what dot says", function()
    local got = run({ "--graph", "x.svg" }, path_with())
    assert.equal("mlua: graphviz: No such file or directory (Debian's package graphviz has dot)\n",
      got.err)
    assert.equal(1, got.status)
    assert.is_false(files.exists(folder .. "/x.svg"))
    files.remove(folder .. "/bin")
    local failing = "#!/bin/sh\ncat >/dev/null; echo no fonts >&2; exit 3\n"
    got = run({ "--graph", "x.svg" }, path_with(failing))
    assert.truthy(got.err:find("^mlua: graphviz: [^\n]*no fonts[^\n]*\n$"), got.err)
    assert.equal(1, got.status)
  end)

  it("is not ended by a program that ends before it has read all", function()
    local got = process.mlua { "-e",
      'print(require("mlua.ffi.process").run({ "true" }, ("x"):rep(2 ^ 21)))' }
    assert.equal("true\t\n", got.out .. got.err)
    assert.equal(0, got.status)
  end)

  it("is a picture by graphviz itself", function()
    if os.execute "command -v dot >/dev/null" ~= 0 then return pending "no dot (graphviz)" end
    for kind, head in pairs { svg = "^<%?xml", png = "^\137PNG", pdf = "^%%PDF" } do
      local got = run { "--graph", "x." .. kind }
      assert.equal("", got.err)
      assert.truthy(files.read(folder .. "/x." .. kind):find(head))
    end
    assert.truthy(files.read(folder .. "/x.svg"):find("name=clicks", 1, true))
  end)
end)
