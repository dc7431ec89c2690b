"""The newest row of a run is found without reading the others."""

from __future__ import annotations

from pathlib import Path

from genai_cli.store import metrics_csv, run_folder

HEAD = "epoch,step,seconds,val/loss"
LONG = "\n".join(f"{i},{i * 4},{i / 3!r},{1 / (i + 1)!r}" for i in range(2000))


def test_the_last_row_is_the_last_of_all_rows(tmp_path: Path) -> None:
    for text in [
        "",
        HEAD,
        f"{HEAD}\n",
        f"{HEAD}\n1,4,0.5,2.5\n",
        f"{HEAD}\n1,4,0.5,2.5\n2,8,1.0,",
        f"{HEAD}\n1,4,0.5,\n",
        f"{HEAD}\n{LONG}\n",
        f"{HEAD}\n{LONG}\n2000,80",
    ]:
        (tmp_path / "metrics.csv").write_text(text)
        rows = run_folder.read_metrics(tmp_path)
        assert metrics_csv.last_row(tmp_path) == (rows[-1] if rows else {}), text


def test_no_file_and_damage_have_no_row(tmp_path: Path) -> None:
    assert metrics_csv.last_row(tmp_path) == {}
    (tmp_path / "metrics.csv").write_bytes(b"epoch,step\n\xff\xfe,1\n")
    assert metrics_csv.last_row(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("epoch,step\nfew,words\n")
    assert metrics_csv.last_row(tmp_path) == {}
