"""The page of the generator, as somebody with a browser sees it."""

import json
from io import BytesIO
from zipfile import ZipFile

import pytest

from tests.app.browsing import PHONE, expect, pixels, visit
from unfussy.app import launch
from unfussy.models.multimodal import MultimodalGenerator

# --- what a seed gives -------------------------------------------------------------


def test_a_seed_gives_its_picture_and_its_caption(visitor, generator):
    image, caption = generator.generate(11)

    visitor.ask(11)

    visitor.sees(caption)
    assert (visitor.shown_picture() == pixels(image)).all()
    expect(visitor.page.locator("#picture img")).to_have_attribute("alt", caption)


def test_the_return_key_generates_as_well(visitor, generator):
    visitor.type("seed", 5)
    visitor.page.keyboard.press("Enter")

    visitor.sees(generator.generate(5)[1])


def test_the_temperature_is_heeded(visitor, generator):
    visitor.type("temperature", 0)
    visitor.ask(3)

    visitor.sees(generator.generate(3, temperature=0)[1])


def test_metadata_can_be_unfolded(visitor, generator):
    visitor.ask(11)
    visitor.sees(generator.generate(11)[1])
    visitor.page.get_by_role("button", name="Metadata").click()

    expect(visitor.page.locator("#details")).to_contain_text('"latent_dim": 8')
    expect(visitor.page.locator("#details")).to_contain_text('"seed": 11')


def test_a_random_seed_is_another_one_that_works(visitor):
    field = visitor.page.locator("#seed input")
    visitor.page.locator("#random").click()
    expect(field).not_to_have_value("42")

    visitor.page.locator("#generate").click()

    expect(visitor.caption).not_to_have_value("")
    assert 0 <= int(field.input_value()) < 2**32


def test_a_picture_is_downloaded_with_its_caption(visitor, generator):
    image, caption = generator.generate(11)
    visitor.ask(11)
    visitor.sees(caption)

    name, content = visitor.download("keep")

    assert name == "seed_011.png"
    assert caption.encode() in content
    assert (pixels(content) == pixels(image)).all()


# --- what many give ----------------------------------------------------------------


def test_the_picture_of_a_batch_that_is_chosen_becomes_the_large_one(
    visitor, generator
):
    samples = generator.generate_batch(range(5, 8))

    visitor.ask(5, count=3)
    visitor.sees(samples[0][1])
    expect(visitor.small_pictures).to_have_count(3)
    visitor.small_pictures.nth(2).click()

    visitor.sees(samples[2][1])
    assert visitor.download("keep")[0] == "seed_007.png"
    assert (visitor.shown_picture() == pixels(samples[2][0])).all()


def test_a_batch_is_downloaded_with_what_it_is(visitor, generator):
    captions = [caption for _, caption, _ in generator.generate_batch(range(5, 8))]
    visitor.ask(5, count=3)
    visitor.sees(captions[0])

    name, content = visitor.download("keep_all")

    assert name == "seed_005_to_007.zip"
    with ZipFile(BytesIO(content)) as archive:
        listed = json.loads(archive.read("metadata.json"))
        assert [each["caption"] for each in listed] == captions
        assert {each["image_path"] for each in listed} < set(archive.namelist())


def test_after_a_batch_one_picture_is_alone_again(visitor, generator):
    visitor.ask(5, count=3)
    expect(visitor.small_pictures).to_have_count(3)

    visitor.ask(11)

    visitor.sees(generator.generate(11)[1])
    expect(visitor.small_pictures).to_have_count(0)
    expect(visitor.page.locator("#keep_all")).to_be_hidden()


def test_one_can_go_from_a_seed_to_another(visitor, generator):
    samples = generator.interpolate(5, 11, 6)
    visitor.go_between_seeds()
    visitor.type("begin", 5)
    visitor.type("end", 11)

    visitor.page.locator("#go").click()

    visitor.sees(samples[0][1])
    expect(visitor.small_pictures).to_have_count(6)
    visitor.small_pictures.last.click()
    visitor.sees(samples[-1][1])


def test_two_visitors_have_pictures_of_their_own(browser, visitor, serving, generator):
    visitor.ask(5, count=3)
    visitor.sees(generator.generate(5)[1])

    with visit(browser, serving.url) as other:
        other.ask(11, count=2)
        other.sees(generator.generate(11)[1])
    visitor.small_pictures.nth(1).click()

    visitor.sees(generator.generate(6)[1])


# --- what goes wrong ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "count", "told"),
    [
        (-1, 1, "a seed is from 0 to 4294967295 (2**32 - 1), got -1"),
        (2**32, 1, "got 4294967296"),
        (0.5, 1, "a seed is a whole number, got 0.5"),
        ("", 1, "type a seed: a whole number from 0 to 4294967295"),
        (2**32 - 1, 3, "3 pictures counting up from seed 4294967295 end at 4294967297"),
    ],
)
def test_a_seed_that_is_none_is_told_and_what_was_made_stays(
    visitor, generator, seed, count, told
):
    caption = generator.generate(11)[1]
    visitor.ask(11)
    visitor.sees(caption)

    visitor.ask(seed, count)

    expect(visitor.notice).to_contain_text("That did not work:")
    expect(visitor.notice).to_contain_text(told)
    expect(visitor.notice).to_be_in_viewport()
    expect(visitor.caption).to_have_value(caption)


def test_a_notice_goes_when_the_next_seed_works(visitor, generator):
    visitor.ask(-1)
    expect(visitor.notice).to_be_visible()

    visitor.ask(11)

    visitor.sees(generator.generate(11)[1])


def test_what_nobody_thought_of_is_told_too(browser, visitor, generator, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("the disk <b>is full</b>")

    with monkeypatch.context() as broken:
        broken.setattr(generator, "generate_batch", fail)
        visitor.ask(11)
        expect(visitor.page.locator("body")).to_contain_text("is full")
    visitor.complaints.clear()
    visitor.ask(5)

    expect(visitor.caption).to_have_value(generator.generate(5)[1])


# --- how it looks ------------------------------------------------------------------


def test_nothing_is_cut_off_on_a_phone(browser, serving, generator):
    with visit(browser, serving.url, PHONE, is_mobile=True) as visitor:
        visitor.ask(5, count=5)
        visitor.sees(generator.generate(5)[1])
        expect(visitor.small_pictures).to_have_count(5)

        assert visitor.is_in_sight(visitor.small_pictures)
        for part in ("#picture", "#caption", "#keep", "#keep_all", "#generate"):
            assert visitor.is_in_sight(visitor.page.locator(part))


def test_on_a_phone_the_page_goes_to_what_was_made(browser, serving, generator):
    with visit(browser, serving.url, PHONE, is_mobile=True) as visitor:
        picture = visitor.page.locator("#picture")
        expect(picture).not_to_be_in_viewport(ratio=0.9)

        visitor.ask(11)

        expect(picture).to_be_in_viewport(ratio=0.9)


def test_only_a_trial_is_called_one(browser, visitor):
    trial = MultimodalGenerator.from_config(image_size=32, width=16)

    with launch(trial) as serving, visit(browser, serving.url) as other:
        note = other.page.get_by_role("note")
        expect(note).to_contain_text("The weights are random")
    expect(visitor.page.get_by_role("note")).to_have_count(0)
