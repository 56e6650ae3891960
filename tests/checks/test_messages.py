from lindae_jax import checks


def test_a_mistake_says_what_got_and_remedy():
    error = checks.mistake("h must be even", 3, "Add one.")
    assert type(error) is ValueError
    assert str(error) == "h must be even; got 3. Add one."
