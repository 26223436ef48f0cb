"""What a command keeps in its workdir: checkpoints, the state of a training, its measurements."""
