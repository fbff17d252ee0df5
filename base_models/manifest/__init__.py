"""Which photos, with which labels, read from where."""

from base_models.manifest.annotations import AnnotationTable
from base_models.manifest.folder import FolderPhotos, scan_folder
from base_models.manifest.loading import load_manifest, load_photo_folder
from base_models.manifest.manifest import Manifest, PhotoSource
from base_models.manifest.tar_shards import TarPhotos, scan_tar_shards

__all__ = [
    "AnnotationTable",
    "FolderPhotos",
    "Manifest",
    "PhotoSource",
    "TarPhotos",
    "load_manifest",
    "load_photo_folder",
    "scan_folder",
    "scan_tar_shards",
]
