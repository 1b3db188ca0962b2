--- Operations, one function per card in core/op; build/docs/ops.md is their reference.
-- @module mlua.op
return require "mlua.ffi".op
