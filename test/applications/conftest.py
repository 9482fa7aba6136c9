"""The end-to-end tests' host, web servers and checks, for real applications."""
import importlib.util
import os
import sys

E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")
sys.path.insert(0, E2E)

# Its own name is conftest too, which is this file's already.
spec = importlib.util.spec_from_file_location("e2e_conftest", os.path.join(E2E, "conftest.py"))
e2e_conftest = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = e2e_conftest
spec.loader.exec_module(e2e_conftest)

pytest_addoption = e2e_conftest.pytest_addoption
pytest_collection_modifyitems = e2e_conftest.pytest_collection_modifyitems
pytest_sessionstart = e2e_conftest.pytest_sessionstart
pytest_runtest_makereport = e2e_conftest.pytest_runtest_makereport
time_bound = e2e_conftest.time_bound
expected_log = e2e_conftest.expected_log
checks_afterwards = e2e_conftest.checks_afterwards
