--- An optimiser's step by a loss: in one pass, or the gradients first and then the step.
return function(opt, loss, fused)
  if fused then return opt:step(loss) end
  loss:backward()
  opt:step()
  opt:zero_grad()
end
