"""Where files lie: what is refused at start, and all that files do in object storage (a real S3 server here)."""

import io
import urllib.request
import zipfile

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.test import Client
from django.urls import reverse

from annotator import stored
from annotator.models import Export, Job
from annotator.pipeline import aggregate, changes, datasets, export, ingest, keys, push, work
from annotator.settings import env_storage
from tests.annotator import hub_stand_in
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

S3 = {
    "STORAGE": "s3",
    "S3_BUCKET": "rain",
    "S3_ENDPOINT": "https://s3.example",
    "S3_REGION": "eu-west-1",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "secret",
}


@pytest.fixture(autouse=True)
def no_storage_of_the_machine(monkeypatch):
    for name in (*S3, "S3_SECRET_ACCESS_KEY_FILE", "S3_ADDRESSING", "S3_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(work, "nudge", lambda task: None)


def environment(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_files_are_the_default(monkeypatch):
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    assert env_storage() == files
    environment(monkeypatch, STORAGE="files")
    assert env_storage() == files


def test_s3_is_named_with_its_bucket(monkeypatch):
    environment(monkeypatch, **S3, S3_PREFIX="/switch/yard/")
    made = env_storage()
    assert made["BACKEND"] == "storages.backends.s3.S3Storage"
    options = made["OPTIONS"]
    assert (options["bucket_name"], options["endpoint_url"], options["location"]) == (
        "rain", "https://s3.example", "switch/yard",
    )  # fmt: skip
    assert not options["file_overwrite"]
    environment(monkeypatch, STORAGE="storages.backends.s3.S3Storage")
    assert env_storage() == made


def test_the_secret_may_lie_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("from the file\n")
    environment(monkeypatch, **S3, S3_SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"))
    assert env_storage()["OPTIONS"]["secret_key"] == "from the file"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"STORAGE": "s4"}, "STORAGE='s4'"),
        ({"STORAGE": "../x.y"}, "dotted path"),
        ({"S3_BUCKET": "rain"}, "S3_BUCKET is set but STORAGE='files'"),
        ({**S3, "S3_BUCKET": ""}, "name the bucket"),
        ({**S3, "S3_BUCKET": "No Bucket"}, "name the bucket"),
        ({**S3, "S3_ENDPOINT": "s3.example"}, "say https://host"),
        ({**S3, "S3_ENDPOINT": "https://id:secret@s3.example"}, "say https://host"),
        ({**S3, "S3_SECRET_ACCESS_KEY": ""}, "give both, or neither"),
        ({**S3, "S3_ADDRESSING": "sideways"}, "S3_ADDRESSING"),
    ],
)
def test_nonsense_is_refused_at_start(monkeypatch, variables, words):
    environment(monkeypatch, **variables)
    with pytest.raises(ImproperlyConfigured, match=words.replace("(", r"\(")) as refusal:
        env_storage()
    assert "secret@" not in str(refusal.value)


@pytest.fixture
def s3(monkeypatch, settings):
    """The site's storage is a bucket of an S3 server on this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    given = {**S3, "S3_ENDPOINT": address, "S3_PREFIX": "site", "S3_ADDRESSING": "path"}
    environment(monkeypatch, **given)
    client = boto3.client(
        "s3", endpoint_url=address, region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="secret"
    )
    # What an earlier server of this process held is still there.
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).close()
    client.create_bucket(Bucket="rain", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    settings.STORAGES = {**settings.STORAGES, "default": env_storage()}
    assert not isinstance(default_storage._wrapped, FileSystemStorage)
    yield client
    server.stop()


def names(s3):
    return [each["Key"] for each in s3.list_objects_v2(Bucket="rain").get("Contents", [])]


ROWS = b"".join(
    b'{"id": "%d", "prompt": "Number %d?", "response_a": "Water.", "response_b": "Drops."}\n' % (number, number)
    for number in range(3)
)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_upload_in_s3_is_previewed_and_imported(s3, client, name):
    import gzip

    project = make_project()
    client.force_login(make_member(project, "lead"))
    content = gzip.compress(ROWS) if name.endswith(".gz") else ROWS
    file = io.BytesIO(content)
    file.name = name
    answer = client.post(reverse("import_upload", args=[project.pk]), {"file": file, "source": "test"})
    assert answer.status_code == 302
    assert [each.startswith(f"site/uploads/{project.pk}/") for each in names(s3)] == [True]
    page = client.get(answer.url, follow=True)
    assert "Number 0?" in page.content.decode()
    client.post(answer.url)
    ingest.run_ingests()
    job = Job.objects.get(kind=Job.Kind.INGEST)
    assert job.state == Job.State.DONE, job.message
    assert project.comparisons.count() == 3
    assert names(s3) == []


@pytest.mark.slow
@pytest.mark.django_db
def test_exports_in_s3_are_downloaded_linked_compared_and_pushed(s3, client, settings):
    settings.LABELER_PRIVATE_ENDPOINTS = True
    project = make_project(name="Rain")
    lead = make_member(project, "lead")
    client.force_login(lead)
    make_judgment(make_comparison(project), make_person(project), 1)
    choices = {"container": "parquet", "options": {}, "filters": {}}
    kept, first = datasets.begin(
        project, "rain", lead, format="trl_reward", recipe=aggregate.recipe(project, "people"), **choices
    )
    export.run_exports()
    first.refresh_from_db()
    assert {name.rpartition("-trl_reward-")[0] for name in names(s3)} == {f"site/exports/{project.pk}/1"}
    for file in first.files:
        address = reverse("export_download", args=[project.pk, first.number, file["name"]])
        content = b"".join(client.get(address).streaming_content)
        assert len(content) == file["bytes"]
        part = client.get(address, headers={"Range": "bytes=4-9"})
        assert (part.status_code, b"".join(part.streaming_content)) == (206, content[4:10])
    whole = client.get(reverse("export_download", args=[project.pk, first.number]))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(whole.streaming_content)))
    assert archive.testzip() is None
    assert len(archive.namelist()) == len(first.files)
    page = client.post(reverse("export_link", args=[project.pk, first.number]), {"name": "README.md"})
    linked = Client().get(reverse("linked_download", args=[page.context["link"].rpartition("/")[2]]))
    assert b"".join(linked.streaming_content).startswith(b"---\nlicense:")
    make_judgment(make_comparison(project), make_person(project), -1)
    second, _job = datasets.write_version(kept, lead)
    export.run_exports()
    second.refresh_from_db()
    assert changes.compare(first, second).added == 1
    with hub_stand_in.running() as there:
        push.request_push(second, there.url, "ana/rain", keys.Key(typed=hub_stand_in.TOKEN), lead)
        push.run_pushes()
        assert set(there.repositories["ana/rain"].files) == {file["name"] for file in second.files}
    assert Job.objects.filter(state=Job.State.DONE).count() == 3


@pytest.mark.slow
@pytest.mark.django_db
def test_s3_signs_links_that_expire_too(s3):
    """Ours do not need it; what else asks the storage for an address gets one that is signed and ends."""
    name = default_storage.save("x/y.txt", ContentFile(b"rain"))
    url = default_storage.url(name, expire=60)
    assert "X-Amz-Expires=60" in url
    assert "X-Amz-Signature=" in url
    assert urllib.request.urlopen(url).read() == b"rain"


@pytest.mark.slow
@pytest.mark.django_db
def test_files_in_s3_keep_their_names_apart_and_are_read_from_any_byte_on(s3):
    first = default_storage.save("x/y.bin", ContentFile(bytes(range(100))))
    second = default_storage.save("x/y.bin", ContentFile(b"other"))
    assert first != second
    assert b"".join(stored.pieces(first, 10, 20)) == bytes(range(10, 20))
    with stored.local(second) as path:
        assert (path.suffix, path.read_bytes()) == (".bin", b"other")
    with pytest.raises(FileNotFoundError):
        stored.opened("x/none")


@pytest.mark.slow
@pytest.mark.django_db
def test_an_export_whose_worker_dies_leaves_nothing_to_download_in_s3(s3, monkeypatch):
    project = make_project()
    make_judgment(make_comparison(project), make_person(project), 1)
    made = export.request_export(project, "judgments", "jsonl", aggregate.recipe(project, "people"), {}, None)[0]
    monkeypatch.setattr(export, "digest", lambda files: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.write_export(made)
    assert Export.objects.get().files == []
    monkeypatch.undo()
    assert export.write_export(made).completed_at
