"""MapProxy: maps as WMS, TMS and WMTS, out of a cache of its own."""
import os
import xml.etree.ElementTree as ElementTree

from deployed import deployed, many_at_once
from host import write_file

PNG = b"\x89PNG\r\n\x1a\n"
MAPPING = """
services:
  demo:
  kml:
  tms:
  wmts:
  wms:
    md: {title: Maps of nowhere}
layers:
  - {name: nowhere, title: Nowhere, sources: [nowhere_cache]}
caches:
  nowhere_cache:
    grids: [webmercator]
    sources: [grid_lines]
    cache: {type: file, directory: %(folder)s/tiles}
sources:
  grid_lines: {type: debug}
grids:
  webmercator: {base: GLOBAL_WEBMERCATOR}
globals:
  cache: {base_dir: %(folder)s/tiles, lock_dir: %(folder)s/locks, tile_lock_dir: %(folder)s/locks}
  image: {paletted: false}
"""
GETMAP = ("/service?SERVICE=WMS&VERSION=1.1.1&REQUEST=GetMap&LAYERS=nowhere&STYLES=&SRS=EPSG:3857"
          "&BBOX=%s&WIDTH=300&HEIGHT=200&FORMAT=image/png")
WORLD = "-10000000,-10000000,10000000,10000000"


def prepare(site):
    mapping = write_file(os.path.join(site.folder, "mapproxy.yaml"), MAPPING % {
        "folder": site.folder})
    # This is the script file that `mapproxy-util create -t wsgi-app` writes.
    site.service_environ = {}
    script = os.path.join(site.folder, "maps.wsgi")
    site.run(["mapproxy-util", "create", "-t", "wsgi-app", "-f", mapping, script])
    return "[application]\nscript = maps.wsgi\n", {}


site = deployed(prepare, [("mapproxy", "mapproxy")])


class TestServices:
    def test_the_first_page_and_the_demo_are_shown(self, site):
        assert "Welcome to MapProxy" in site.get("/").text
        demo = site.get("/demo/")
        assert demo.status == 200, demo
        assert 'href="../service?' in demo.text

    def test_the_demo_has_its_script_files(self, site):
        script = site.get("/demo/static/site.css")
        assert (script.status, script.get("Content-Type").split(";")[0]) == (200, "text/css")

    def test_wms_capabilities_name_the_layer_and_this_address(self, site):
        response = site.get("/service?SERVICE=WMS&VERSION=1.1.1&REQUEST=GetCapabilities")
        assert response.status == 200, response
        root = ElementTree.fromstring(response.body)
        assert [name.text for name in root.iter("Name") if name.text == "nowhere"]
        links = {element.get("{http://www.w3.org/1999/xlink}href")
                 for element in root.iter("OnlineResource")}
        # nginx may tell the application its host without the port.
        assert links & {site.url("/service?"), "http://127.0.0.1%s/service?" % site.prefix}, links

    def test_wms_draws_a_map(self, site):
        response = site.get(GETMAP % WORLD)
        assert (response.status, response.get("Content-Type")) == (200, "image/png"), response
        assert response.body.startswith(PNG)

    def test_tms_and_wmts_serve_tiles(self, site):
        tile = site.get("/tms/1.0.0/nowhere/EPSG3857/1/0/1.png")
        assert tile.status == 200 and tile.body.startswith(PNG), tile
        assert site.get("/wmts/nowhere/webmercator/01/0/1.png").body.startswith(PNG)

    def test_head_of_a_tile_has_its_length_and_no_body(self, site):
        got = site.get("/tms/1.0.0/nowhere/EPSG3857/2/1/1.png")
        head = site.request("HEAD", "/tms/1.0.0/nowhere/EPSG3857/2/1/1.png")
        assert (head.status, head.body) == (200, b"")
        assert head.get("Content-Length") in (None, str(len(got.body)))

    def test_a_wrong_request_is_answered_as_the_service_says(self, site):
        response = site.get(GETMAP.replace("LAYERS=nowhere", "LAYERS=elsewhere") % WORLD)
        assert "LayerNotDefined" in response.text, response  # 200, and since MapProxy 4 500
        assert site.get("/nothing").status == 404

    def test_many_visitors_at_once_get_all_their_tiles(self, site):
        tiles = many_at_once(lambda number: site.get(
            "/tms/1.0.0/nowhere/EPSG3857/4/%d/5.png" % (number % 16)))
        assert {tile.status for tile in tiles} == {200}
        assert all(tile.body.startswith(PNG) for tile in tiles)
