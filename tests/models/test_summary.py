from pathlib import Path

import torch

from pytorch_vision.models import Classifier, print_summary


def rows(text: str) -> list[list[str]]:
    """Return the table's lines as words, without rules and the heading."""
    lines = (line.split() for line in text.splitlines() if not set(line) <= {"-", "="})
    return [words for words in lines if words[0] != "Layer"]


def test_the_table_is_the_original_notebooks(few, capsys):
    print_summary(Classifier("ResNet18", few))
    expected = rows((Path(__file__).parent / "original_summary.txt").read_text())
    assert len(expected) == 49 + 7
    assert rows(capsys.readouterr().out) == expected


def test_a_network_that_torchsummary_cannot_list_gets_a_line(few, capsys):
    """Attention returns a tuple, which torchsummary cannot handle."""
    model = torch.nn.Sequential(torch.nn.Flatten(2), Attention())
    print_summary(Classifier(model, few))
    assert "Sequential: 4,198,400 parameters (torchsummary cannot list" in capsys.readouterr().out


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(1024, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0]
