"""How well scores rank architectures whose trained accuracies are known."""
