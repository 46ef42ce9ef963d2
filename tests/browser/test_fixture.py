"""The browser of the other tests here runs scripts and reports what goes wrong in them."""

from __future__ import annotations

from tests.browser.conftest import NewPage


def test_the_browser_runs_scripts_and_reports_their_errors(
    new_page: NewPage, console_errors: list[str]
) -> None:
    page = new_page(width=390, height=844, color_scheme="dark")
    page.set_content("<p id='seen'></p><script>seen.textContent = innerWidth</script>")
    assert page.inner_text("#seen") == "390"
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert console_errors == []
    page.evaluate("console.error('noted')")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    page.wait_for_timeout(50)
    assert console_errors == ["noted", "thrown"]
