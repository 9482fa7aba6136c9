"""Handlers: functions that are called with a fcgihost.Request."""
import os

import fastcgi
import scgi
import pytest

from host import ROOT, Host

EXAMPLE = os.path.join(ROOT, "examples", "handler")


@pytest.fixture
def host():
    return Host(None, settings={"python": {"path": EXAMPLE},
                                "application": {"handler": "shop:handler", "mount": "/"}})


@pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
class TestHandler:
    def test_answers(self, host, protocol):
        response = protocol.exchange(host.address, "GET", "/")
        assert response.status == 200 and "a lamp" in response.text

    def test_an_internal_redirect_keeps_what_was_set_on_the_first_request(self, host, protocol):
        response = protocol.exchange(host.address, "GET", "/item?id=7")
        assert response.status == 404 and "7" in response.text
