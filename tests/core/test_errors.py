"""What an error of ours says and carries."""

from reactor.errors import RefusedError


def test_a_refusal_by_the_database_names_its_sqlstate() -> None:
    assert (RefusedError("42501").sqlstate, str(RefusedError("42501"))) == ("42501", "The database refused: 42501.")
    assert str(RefusedError("")) == "The database refused: no SQLSTATE."
