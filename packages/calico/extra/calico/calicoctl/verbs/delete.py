"""`delete KIND NAME...`; with -f it is one of the operations on documents."""

import argparse
import functools

from calico.calicoctl import naming, writing
from calico.calicoctl.caution import Caution
from calico.calicoctl.session import Failure, Session
from calico.calicoctl.tally import Tally
from calico.client.errors import NotFoundError, ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.problems import ModelError


def run(session: Session, options: argparse.Namespace) -> int:
    """Delete every resource named, also behind one that could not be."""
    if options.filename:
        from calico.calicoctl.verbs import write

        return write.run(session, options)
    if not options.name:
        raise Failure("No resources specified")
    kind = naming.kind_of(options.kind)
    namespace = naming.namespace_of(kind, options.namespace)
    client = session.client(options.config, options.dry_run)
    caution = Caution(session, client)
    tally = Tally("delete", [kind.name] * len(options.name), options.dry_run)
    for name in options.name:
        try:
            act = functools.partial(writing.delete, kind=kind.name, name=name, namespace=namespace)
            caution.warn(kind.name, f"deleting {kind.name}({name})", act)
            act(client)
            tally.handled()
        except NotFoundError as error:
            if options.skip_not_exists:
                tally.handled()
            else:
                tally.failed(str(error))
        except (ResourceError, ModelError) as error:
            tally.failed(str(error))
        except DatastoreError as error:
            tally.gave_up(str(error))
            break
    return tally.report_deletions(session)
