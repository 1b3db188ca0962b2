--- Operations, one function per card in core/op; tools/docs makes their reference.
-- @module mlua.op
return require "mlua.ffi".op
