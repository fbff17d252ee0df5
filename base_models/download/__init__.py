"""Photos from the urls of an annotation file, with a ledger of what became of each."""

from base_models.download.download import DownloadEstimate, DownloadReport, download_photos, estimate_download
from base_models.download.ledger import LEDGER_NAME, Ledger, LedgerRow, read_failures
from base_models.download.options import DownloadOptions

__all__ = [
    "LEDGER_NAME",
    "DownloadEstimate",
    "DownloadOptions",
    "DownloadReport",
    "Ledger",
    "LedgerRow",
    "download_photos",
    "estimate_download",
    "read_failures",
]
