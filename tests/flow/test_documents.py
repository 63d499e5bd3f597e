"""Documents become vectors, and stay in step with their source; on both logs where the log has part in it."""

from __future__ import annotations

from tests.flow.pipeline import Pipeline, edges, text


def test_documents_become_vectors_and_a_second_run_does_nothing(pipeline: Pipeline) -> None:
    pipeline.write({f"{seed}.md": text(seed) for seed in range(20)})
    first = pipeline.run()
    assert first.state == "completed"
    assert first.written == len(pipeline.records()) > 20
    assert pipeline.keys() == {f"{seed}.md" for seed in range(20)}
    second = pipeline.run()
    assert (second.state, second.written, second.removed, second.model_calls) == ("completed", 0, 0, 0)
    assert second.nodes["text"]["in"] == 0


def test_an_edit_rewrites_its_own_chunks_and_a_delete_removes_its_vectors(pipeline: Pipeline) -> None:
    pipeline.write({f"{seed}.md": text(seed) for seed in range(6)})
    pipeline.run()
    before = {hit.id: hit.text for hit in pipeline.records()}
    edited = text(1).replace("Paragraph 2 of 1", "Paragraph 2 of one, edited")
    pipeline.write({"1.md": edited})
    (pipeline.docs / "2.md").unlink()
    gone = {hit.id for hit in pipeline.records(key="2.md")}
    report = pipeline.run()
    after = {hit.id: hit.text for hit in pipeline.records()}
    assert report.state == "completed"
    assert not gone & set(after)
    changed = set(after) - set(before)
    assert report.written == len(changed)
    assert report.written < len(pipeline.records(key="1.md"))
    assert all("edited" in after[record] or "Paragraph" in after[record] for record in changed)
    assert report.unchanged == len(pipeline.records(key="1.md")) - report.written


def test_a_document_that_shrinks_leaves_no_orphans(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1, paragraphs=12)})
    embedded.run()
    embedded.write({"a.md": "Short."})
    report = embedded.run()
    assert [hit.text for hit in embedded.records()] == ["Short."]
    assert report.removed > 5


def test_a_bad_file_is_a_dead_letter_and_holds_nothing_back(pipeline: Pipeline) -> None:
    pipeline.write({"good.md": text(1), "bad.pdf": b"%PDF-1.7 this is no document"})
    report = pipeline.run()
    assert report.state == "degraded"
    assert report.dead_letters == 1
    assert pipeline.keys() == {"good.md"}
    (letter,) = pipeline.dead_letters()
    assert (letter.key, letter.node, letter.kind) == ("bad.pdf", "text", "corrupt")
    assert b"%PDF-1.7 this is no document" in letter.original, "the input of the stage, untouched"
    assert letter.message


def test_a_dead_letter_is_closed_when_its_document_is_mended_or_deleted(pipeline: Pipeline) -> None:
    pipeline.write({"a.txt": bytes(range(256)) * 8, "b.pdf": b"%PDF-1.7 broken too"})
    assert pipeline.run().dead_letters == 2
    pipeline.write({"a.txt": b"plain words after all\n"})
    (pipeline.docs / "b.pdf").unlink()
    report = pipeline.run()
    assert (report.state, report.dead_letters) == ("completed", 0)


def test_records_of_one_file_are_documents_of_their_own(embedded: Pipeline) -> None:
    embedded.graph["nodes"][0]["params"] = {"path": "docs", "format": "jsonl", "glob": "*.jsonl"}
    del embedded.graph["nodes"][1]
    embedded.graph["edges"] = edges("files>chunk", "chunk>embed", "embed>index")
    embedded.write(
        {"a.jsonl": '{"id": 1, "text": "one river"}\n{"id": 2, "text": "two stones", "lang": "en"}\n'}
    )
    embedded.run()
    assert {hit.key: hit.text for hit in embedded.records()} == {
        "a.jsonl#1": "one river",
        "a.jsonl#2": "two stones",
    }
    embedded.write({"a.jsonl": '{"id": 2, "text": "two stones", "lang": "en"}\n{"id": 3, "text": "three"}\n'})
    report = embedded.run()
    assert embedded.keys() == {"a.jsonl#2", "a.jsonl#3"}
    assert (report.written, report.removed) == (1, 1)


def test_a_graph_without_topics_does_the_same(pipeline: Pipeline) -> None:
    pipeline.graph["edges"] = edges("files>text=", "text>chunk=", "chunk>embed=", "embed>index=")
    pipeline.write({f"{seed}.md": text(seed) for seed in range(5)})
    assert pipeline.run().written == len(pipeline.records()) > 0
    second = pipeline.run()
    assert (second.written, second.removed) == (0, 0)
    (pipeline.docs / "0.md").unlink()
    pipeline.write({"1.md": "Other."})
    pipeline.run()
    assert pipeline.keys() == {"1.md", "2.md", "3.md", "4.md"}
    assert [hit.text for hit in pipeline.records(key="1.md")] == ["Other."]


def test_an_index_that_was_deleted_is_filled_again(pipeline: Pipeline) -> None:
    pipeline.write({f"{seed}.md": text(seed) for seed in range(3)})
    pipeline.run()
    before = pipeline.ids()
    for file in (pipeline.folder / ".nvisy").glob("index.db*"):
        file.unlink()
    pipeline.run()
    assert pipeline.ids() == before


def test_another_chunk_size_moves_every_document_to_its_new_chunks(embedded: Pipeline) -> None:
    embedded.write({f"{seed}.md": text(seed) for seed in range(3)})
    embedded.run()
    embedded.graph["nodes"][2]["params"] = {"size": 80}
    report = embedded.run()
    assert report.written > 0
    assert report.removed > 0
    assert all(len(hit.text) <= 80 for hit in embedded.records())
