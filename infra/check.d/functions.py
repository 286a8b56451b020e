"""The functions of Bicep's namespaces `sys` and `az`, and its decorators.

One line a function: what it takes, what it gives. `*` after a kind: any number of these; `?`: may be left out;
`|` between kinds: either. From learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
any any -> any
array any -> array
base64 string -> string
base64ToJson string -> any
base64ToString string -> string
bool any -> bool
buildUri object -> string
cidrHost string int -> string
cidrSubnet string int int -> string
coalesce any any* -> any
concat any any* -> any
contains object|array|string any -> bool
dataUri any -> string
dataUriToString string -> string
dateTimeAdd string string string? -> string
dateTimeFromEpoch int -> string
dateTimeToEpoch string -> int
deployer -> object
deployment -> object
empty object|array|string|null -> bool
endsWith string string -> bool
environment -> object
extensionResourceId string string string* -> string
fail string -> any
filter array lambda -> array
first array|string -> any
flatten array -> array
format string any* -> string
getSecret string string string string string? -> string
groupBy array lambda -> object
guid string string* -> string
indexOf string|array any -> int
int string|int -> int
intersection object|array any* -> any
items object -> array
join array string -> string
json string -> any
last array|string -> any
lastIndexOf string|array any -> int
length string|object|array -> int
list any* -> any
listAccountSas string string object? -> any
listCallbackUrl string string object? -> any
listKeys string string object? -> any
listSecrets string string object? -> any
loadDirectoryFileInfo string string? -> array
loadFileAsBase64 string -> string
loadJsonContent string string? string? -> any
loadTextContent string string? -> string
loadYamlContent string string? string? -> any
managementGroup string? -> object
managementGroupResourceId string string string* -> string
map array lambda -> array
mapValues object lambda -> object
max any any* -> int
min any any* -> int
newGuid -> string
objectKeys object -> array
padLeft string|int int string? -> string
parseCidr string -> object
parseUri string -> object
pickZones string string string int? int? -> array
providers string string? -> any
range int int -> array
readEnvironmentVariable string string? -> string
reduce array any lambda -> any
reference string string? string? -> any
replace string string string -> string
resourceGroup string? string? -> object
resourceId string string string* -> string
shallowMerge array -> object
skip array|string int -> any
sort array lambda -> array
split string string|array -> array
startsWith string string -> bool
string any -> string
subscription string? -> object
subscriptionResourceId string string string* -> string
substring string int int? -> string
take array|string int -> any
tenant -> object
tenantResourceId string string string* -> string
toLogicalZone string string string -> string
toLogicalZones string string array -> array
toLower string -> string
toObject array lambda lambda? -> object
toPhysicalZone string string string -> string
toPhysicalZones string string array -> array
toUpper string -> string
trim string -> string
union any any* -> any
uniqueString string string* -> string
uri string string -> string
uriComponent string -> string
uriComponentToString string -> string
utcNow string? -> string
"""

# Where they may stand: parameter files only; defaults of parameters only.
PARAMETER_FILES = {"readEnvironmentVariable", "externalInput"}
DEFAULTS = {"newGuid", "utcNow"}
# Functions whose value exists only while the deployment runs.
RUNTIME = {"list", "listAccountSas", "listCallbackUrl", "listKeys", "listSecrets", "reference"}

# Objects whose properties are known. A text is a kind; a mapping is an object again.
OBJECTS = {
    "resourceGroup": {"id": "string", "name": "string", "type": "string", "location": "string", "managedBy": "string",
                      "tags": "object", "properties": {"provisioningState": "string"}},
    "subscription": {"id": "string", "subscriptionId": "string", "tenantId": "string", "displayName": "string"},
    "tenant": {"tenantId": "string", "country": "string", "countryCode": "string", "displayName": "string"},
    "environment": {
        "name": "string", "gallery": "string", "graph": "string", "portal": "string", "graphAudience": "string",
        "activeDirectoryDataLake": "string", "batch": "string", "media": "string", "sqlManagement": "string",
        "vmImageAliasDoc": "string", "resourceManager": "string",
        "authentication": {"loginEndpoint": "string", "audiences": "array", "tenant": "string", "identityProvider": "string"},
        "suffixes": {"acrLoginServer": "string", "azureDatalakeAnalyticsCatalogAndJob": "string",
                     "azureDatalakeStoreFileSystem": "string", "keyvaultDns": "string", "sqlServerHostname": "string",
                     "storage": "string"},
    },
}  # fmt: skip

# Decorator → which statements may have it.
DECORATORS = {
    "allowed": {"param"},
    "secure": {"param", "output", "type"},
    "minValue": {"param", "output", "type"},
    "maxValue": {"param", "output", "type"},
    "minLength": {"param", "output", "type"},
    "maxLength": {"param", "output", "type"},
    "metadata": {"param", "output", "type"},
    "description": {"param", "var", "resource", "module", "output", "type", "func"},
    "sys.description": {"param", "var", "resource", "module", "output", "type", "func"},
    "discriminator": {"param", "output", "type"},
    "sealed": {"param", "output", "type"},
    "export": {"var", "type", "func"},
    "batchSize": {"resource", "module"},
    "onlyIfNotExists": {"resource"},
}


@dataclass
class Function:
    name: str
    takes: list[set[str]]
    least: int
    most: int | None
    gives: str

    def kinds(self, position: int) -> set[str]:
        """What the argument at this place may be."""
        return self.takes[min(position, len(self.takes) - 1)]


def _read(line: str) -> Function:
    before, _, gives = line.partition(" -> ")
    name, *takes = before.split()
    least = sum(1 for kind in takes if kind[-1] not in "*?")
    most = None if takes and takes[-1].endswith("*") else len(takes)
    return Function(name, [set(kind.rstrip("*?").split("|")) for kind in takes], least, most, gives)


FUNCTIONS = {found.name: found for found in map(_read, TABLE.strip().splitlines())}
